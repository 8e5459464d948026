"""What it takes to bring photos from file to tensor with Pillow and torchvision on one thread: milliseconds a photo,
the mean of each photo's fastest run.

    python input.py DATA     DATA/*/CLASS/*.jpg

graft's side is `go test ./internal/features -run x -bench Input`.
"""

import glob
import json
import os
import sys
import time

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

torch.set_num_threads(1)
PASSES = 8
paths = sorted(glob.glob(os.path.join(sys.argv[1], "*", "*", "*.jpg")))


def read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def measure(each):
    fastest = [float("inf")] * len(paths)
    for _ in range(PASSES):
        for i, path in enumerate(paths):
            begin = time.perf_counter()
            each(path)
            fastest[i] = min(fastest[i], time.perf_counter() - begin)
    return round(1000 * sum(fastest) / len(paths), 3)


figures = {"photos": len(paths), "decode": measure(read)}
for by in InterpolationMode.BICUBIC, InterpolationMode.BILINEAR:
    transform = ImageClassification(crop_size=224, resize_size=256, interpolation=by)
    figures[by.value] = measure(lambda path: transform(read(path)))
print(json.dumps(figures))
