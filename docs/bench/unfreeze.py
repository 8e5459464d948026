"""Fine-tunes the last stages of EfficientNet-B0 for five epochs in PyTorch, running every photo through the whole
network in every epoch. Its weights are random: what counts is the time.

    python unfreeze.py DATA --save b0.pth       DATA/train/CLASS/*, DATA/test/CLASS/*
    graft train DATA --model efficientnet_b0 --weights b0.pth --unfreeze 'features.[78]' --out RUN

With --first 8 it is features.8 alone, as with --unfreeze features.8.
"""

import argparse
import json
import os
import resource
import time

START = time.perf_counter()

import torch
import torchvision
from torch import nn
from torchvision import datasets, transforms

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--save", help="where to write the weights, before training")
parser.add_argument("--first", type=int, default=7, help="the first stage of features that trains")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--channels-last", action="store_true")
args = parser.parse_args()
torch.set_num_threads(os.cpu_count())
torch.manual_seed(42)
model = torchvision.models.efficientnet_b0(weights=None)
if args.save:
    torch.save(model.state_dict(), args.save)
transform = transforms.Compose([
    transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])


def loader(folder, shuffle):
    photos = datasets.ImageFolder(os.path.join(args.data, folder), transform)
    return torch.utils.data.DataLoader(photos, batch_size=32, shuffle=shuffle, num_workers=os.cpu_count())


train, test = loader("train", True), loader("test", False)
model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, len(train.dataset.classes)))
for parameter in model.features[:args.first].parameters():
    parameter.requires_grad = False
if args.channels_last:
    model = model.to(memory_format=torch.channels_last)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.001)
for epoch in range(args.epochs):
    model.train()
    model.features[:args.first].eval()
    for photos, labels in train:
        if args.channels_last:
            photos = photos.to(memory_format=torch.channels_last)
        loss = loss_fn(model(photos), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        for photos, labels in test:
            model(photos)
print(json.dumps({"program": "pytorch", "epochs": args.epochs, "seconds": round(time.perf_counter() - START, 2),
                  "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}))
