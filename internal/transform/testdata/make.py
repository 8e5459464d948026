"""Makes the references of package transform with torchvision on PIL images.

    python make.py                     pipelines.json: results for pictures that transform_test.go makes likewise
    python make.py SHARED/data         photos.tsv as well: values of real photos' tensors

Needs torch, torchvision and pillow==13.0.0.
"""

import base64
import glob
import hashlib
import json
import os
import random
import sys

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image, ImageOps
from torchvision.transforms._presets import ImageClassification

HERE = os.path.dirname(os.path.abspath(__file__))
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
choose = random.Random(3)
torch.set_num_threads(1)


def ranqd1(seed):
    """Numerical Recipes' generator; transform_test.go has it too."""
    while True:
        seed = (seed * 1664525 + 1013904223) % 2**32
        yield seed >> 8


def picture(width, height, seed):
    """Noise; of an odd seed in black and white, to make filters overshoot."""
    r = ranqd1(seed)
    a = np.array([next(r) & 0xff for _ in range(width * height * 3)], np.uint8)
    if seed % 2:
        a = (a >> 7) * 255
    return Image.fromarray(a.astype(np.uint8).reshape(height, width, 3))


def step(spec):
    kind, spec = spec["type"], {k: v for k, v in spec.items() if k != "type"}
    if kind == "Resize":
        spec["interpolation"] = T.InterpolationMode(spec["interpolation"])
    if isinstance(spec.get("size"), list):
        spec["size"] = tuple(spec["size"])
    return getattr(T, kind)(**spec)


def resize(size, interpolation):
    return {"type": "Resize", "size": size, "interpolation": interpolation}


def crop(size):
    return {"type": "CenterCrop", "size": size}


TENSOR = [{"type": "ToTensor"}]
NORMALIZED = TENSOR + [{"type": "Normalize", "mean": MEAN, "std": STD}]
SIZES = [(1, 1), (2, 1), (1, 7), (3, 5), (17, 23), (100, 100), (224, 224), (255, 257), (300, 200), (200, 450),
         (320, 240), (3, 500), (500, 3), (1, 900), (900, 1), (97, 301)]


def pipelines():
    for width, height in SIZES:
        for interpolation in "bilinear", "bicubic":
            yield width, height, [resize(64, interpolation), crop(56)] + NORMALIZED
            yield width, height, [resize([choose.randint(1, 90), choose.randint(1, 90)], interpolation)] + TENSOR
        yield width, height, [crop(choose.choice([1, 40, 101, [30, 61]]))] + NORMALIZED
        yield width, height, [resize(choose.choice([20, [33, 21]]), "nearest"), crop(24)] + TENSOR
    yield 320, 240, [resize(256, "bilinear"), crop(224)] + NORMALIZED
    yield 240, 320, [resize(256, "bicubic"), crop(224)] + NORMALIZED
    yield 500, 400, [resize(235, "bicubic"), crop(224)] + [TENSOR[0], {"type": "Normalize", "mean": [0.5] * 3, "std": [0.5, 1.0, 2.0]}]
    yield 500, 400, [crop(300), resize(64, "bilinear"), crop([64, 48]), resize([50, 50], "bicubic")] + TENSOR
    yield 90, 80, [resize(30, "bicubic"), resize(60, "bilinear"), crop(61), crop(60)] + NORMALIZED + NORMALIZED[1:]


def references():
    for seed, (width, height, steps) in enumerate(pipelines()):
        compose = T.Compose([step(s) for s in steps])
        a = compose(picture(width, height, seed)).permute(1, 2, 0).contiguous().numpy()
        yield {
            "steps": steps, "string": str(compose), "width": width, "height": height, "seed": seed,
            "output": a.shape[:2], "sha256": hashlib.sha256(a.astype("<f4").tobytes()).hexdigest(),
            "first": [float(v) for v in a.ravel()[:6]]}


def photos(data):
    paths = sorted(glob.glob(f"{data}/pizza_steak_sushi/*/*/*.jpg") + glob.glob(f"{data}/imagenet_samples/*.JPEG"))
    preset = ImageClassification(crop_size=224, resize_size=256, interpolation=T.InterpolationMode.BICUBIC)
    with open(f"{HERE}/photos.tsv", "w") as f:
        for i, path in enumerate(paths):
            with Image.open(path) as im:
                a = preset(ImageOps.exif_transpose(im).convert("RGB")).permute(1, 2, 0).contiguous().numpy().ravel()
            r = ranqd1(i)
            values = np.array([a[next(r) % a.size] for _ in range(16)], "<f4")
            print(os.path.relpath(path, data), base64.b64encode(values.tobytes()).decode(), sep="\t", file=f)


with open(f"{HERE}/pipelines.json", "w") as f:
    f.write("[\n" + ",\n".join(map(json.dumps, references())) + "\n]\n")
if len(sys.argv) > 1:
    photos(sys.argv[1])
