"""The accuracy that the recipe reaches in PyTorch: the features of every photo once, in eval mode, then
Dropout(0.2) + Linear on them, Adam 0.001, batches of 32, five epochs, for the seeds 0 to 9.

    python probe.py DATA     DATA/train/CLASS/*, DATA/test/CLASS/*
"""

import os
import statistics
import sys

import lite0
import torch
from torch import nn
from torchvision import datasets

loss_fn = nn.CrossEntropyLoss()


def features(model, folder):
    photos = datasets.ImageFolder(os.path.join(sys.argv[1], folder), lite0.TRANSFORM)
    rows, labels = [], []
    with torch.inference_mode():
        for batch, label in torch.utils.data.DataLoader(photos, batch_size=32):
            rows.append(model.extract_features(batch).mean((2, 3)))
            labels.append(label)
    return torch.cat(rows), torch.cat(labels)


def run(seed, train, test, classes):
    """Trains a head and returns its accuracy and loss on the test photos."""
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(lite0.FEATURES, classes))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.001)
    rows, labels = train
    for _ in range(5):
        for batch in torch.randperm(len(rows)).split(32):
            loss = loss_fn(head(rows[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    head.eval()
    rows, labels = test
    with torch.inference_mode():
        logits = head(rows)
        return (logits.argmax(1) == labels).double().mean().item(), loss_fn(logits, labels).item()


model = lite0.load().eval()
train, test = features(model, "train"), features(model, "test")
classes = int(train[1].max()) + 1
results = [run(seed, train, test, classes) for seed in range(10)]
accuracies, losses = zip(*results)
lite0.report(
    script="probe",
    test_acc_mean=round(statistics.mean(accuracies), 4),
    test_acc_min=round(min(accuracies), 4),
    test_acc_max=round(max(accuracies), 4),
    test_loss_mean=round(statistics.mean(losses), 4),
)
