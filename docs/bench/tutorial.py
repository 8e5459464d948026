"""The job of `graft train` as a PyTorch tutorial writes it: freeze the network, replace its head, train
five epochs with Adam, and run every photo through the whole network in every epoch.

    python tutorial.py DATA [--norms train]     DATA/train/CLASS/*, DATA/test/CLASS/*

Tutorials call model.train() in every epoch, so that the batch norms of the frozen part go on following
the photos: --norms train. Here they stay in eval mode unless asked, which gives better accuracy and is
what graft does.
"""

import argparse
import os

import lite0
import torch
from torch import nn
from torchvision import datasets

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--norms", choices=["eval", "train"], default="eval")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int, default=42)
args = parser.parse_args()


def loader(folder, shuffle):
    photos = datasets.ImageFolder(os.path.join(args.data, folder), lite0.TRANSFORM)
    return torch.utils.data.DataLoader(photos, batch_size=32, shuffle=shuffle, num_workers=os.cpu_count())


train, test = loader("train", True), loader("test", False)
torch.manual_seed(args.seed)
model = lite0.load()
for parameter in model.parameters():
    parameter.requires_grad = False
model._dropout = nn.Dropout(0.2)
model._fc = nn.Linear(lite0.FEATURES, len(train.dataset.classes))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model._fc.parameters(), lr=0.001)


def train_epoch():
    model.train(args.norms == "train")
    model._dropout.train()
    for photos, labels in train:
        loss = loss_fn(model(photos), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_epoch():
    model.eval()
    loss, correct = 0.0, 0
    with torch.inference_mode():
        for photos, labels in test:
            logits = model(photos)
            loss += loss_fn(logits, labels).item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
    return loss / len(test.dataset), correct / len(test.dataset)


for epoch in range(args.epochs):
    train_epoch()
    test_loss, test_acc = test_epoch()
lite0.report(script="tutorial", norms=args.norms, epochs=args.epochs, test_acc=round(test_acc, 4), test_loss=round(test_loss, 4))
