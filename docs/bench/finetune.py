"""Images a second of training steps in PyTorch, with every parameter training (three classes, cross-entropy,
Adam), as `graft bench ARCH --train` measures them.

    python finetune.py ARCH [--batch 32] [--threads 2] [--channels-last]

ARCH is a torchvision name. The output is a JSON object, whose memory_mb is the most that the process had.
"""

import argparse
import json
import os
import resource
import time

import torch
import torchvision
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("arch")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--channels-last", action="store_true")
args = parser.parse_args()
torch.set_num_threads(args.threads)

network = torchvision.models.get_model(args.arch, weights=None, num_classes=3).train()
images, labels = torch.randn(args.batch, 3, 224, 224), torch.randint(0, 3, (args.batch,))
if args.channels_last:
    network = network.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
optimizer, criterion = torch.optim.Adam(network.parameters(), 1e-3), nn.CrossEntropyLoss()


def step():
    loss = criterion(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


step()
least = float("inf")
for _ in range(3):
    start = time.perf_counter()
    step()
    least = min(least, time.perf_counter() - start)
print(json.dumps({"program": "pytorch", "arch": args.arch, "channels_last": args.channels_last, "batch": args.batch, "threads": args.threads,
                  "train_img_s": round(args.batch / least, 2), "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}))
