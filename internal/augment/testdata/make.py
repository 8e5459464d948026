"""Makes the references of package augment with torchvision on PIL images: ops.json, spaces.json, views.json, batches.json.

    python make.py

Needs torch, torchvision==0.29.2 and pillow==13.0.0. The pictures are made by a formula that augment_test.go has too.
"""

import base64
import hashlib
import json
import math
import os

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)


def ranqd1(seed):
    """Numerical Recipes' generator."""
    while True:
        seed = (seed * 1664525 + 1013904223) % 2**32
        yield seed >> 8


def picture(width, height, seed):
    """Slopes that differ for each channel, and noise of 6 bits."""
    r = ranqd1(seed)
    a = np.zeros((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                a[y, x, c] = (x * (seed % 5 + c) + y * (3 - c) + next(r) % 64) * 256 // (width + height + 64) % 256
    return Image.fromarray(a)


def crop(image, top, left, height, width, rows, columns, interpolation):
    return F.resized_crop(image, int(top), int(left), int(height), int(width), [int(rows), int(columns)], v2.InterpolationMode(interpolation))


def policy(image, operation, magnitude, interpolation, fill):
    ta = v2.TrivialAugmentWide()
    return ta._apply_image_or_video_transform(image, operation, magnitude, v2.InterpolationMode(interpolation), {Image.Image: fill})


OPS = {
    "crop": crop,
    "policy": policy,
    "rotate": lambda im, angle, by, fill: F.rotate(im, angle, v2.InterpolationMode(by), fill=fill),
    "brightness": F.adjust_brightness, "contrast": F.adjust_contrast, "saturation": F.adjust_saturation, "hue": F.adjust_hue,
    "sharpness": F.adjust_sharpness, "posterize": F.posterize, "solarize": F.solarize, "equalize": F.equalize,
    "autocontrast": F.autocontrast, "gray": lambda im: F.rgb_to_grayscale(im, 3),
    "hflip": F.horizontal_flip, "vflip": F.vertical_flip,
}


def cases():
    for factor in 0.0, 0.01, 0.3, 0.77, 1.0, 1.3, 1.99, 4.0:
        for op in "brightness", "contrast", "saturation", "sharpness":
            yield op, [factor]
    for factor in -0.5, -0.31, -0.1, -0.001, 0.0, 0.004, 0.05, 0.2, 0.45, 0.5:
        yield "hue", [factor]
    for bits in range(1, 9):
        yield "posterize", [bits]
    for threshold in 0.0, 0.5, 17.0, 127.5, 254.999, 255.0, 256.0:
        yield "solarize", [threshold]
    for op in "equalize", "autocontrast", "gray", "hflip", "vflip":
        yield op, []
    for by in "nearest", "bilinear", "bicubic":
        for angle in 0, 90, 180, 270, 360, -90, 450, 1, 13.7, 45, 89.9, -33.3, -135, 166.5, 359.999:
            yield "rotate", [angle, by, 0]
        yield "rotate", [30, by, [124, 116, 104]]
        for op in "ShearX", "ShearY":
            for level in -0.99, -0.3, -0.033, 0.0, 0.0099, 0.25, 0.99:
                yield "policy", [op, level, by, 90]
        for op in "TranslateX", "TranslateY":
            for level in -32.0, -7.47, -0.9, 0.0, 2.13, 5.0, 31.9:
                yield "policy", [op, level, by, [1, 2, 3]]


SIZES = [(19, 13), (12, 21), (16, 16), (1, 1), (2, 9), (9, 2), (3, 3), (64, 48), (48, 64), (56, 56), (223, 224)]


def operations():
    """Small pictures are kept whole, as base64, so that a difference can be measured; of large ones there is a digest."""
    for i, (op, args) in enumerate(cases()):
        for j, (width, height) in enumerate(SIZES):
            if j < 3 and (i + j) % 3 or j >= 3 and (i + j) % 8 and op in ("rotate", "policy") or j >= 3 and (i + j) % 4 or j == 10 and i % 3:
                continue
            if op == "policy" and "Shear" in args[0] and args[2] != "nearest" and width * height >= 400:
                continue  # not to the bit, so that pixels are needed
            yield reference(op, args, width, height, i + j)
    for seed, (width, height, *args) in enumerate([
            (64, 48, 0, 0, 48, 64, 48, 64), (64, 48, 3, 5, 30, 41, 16, 16), (64, 48, 40, 60, 8, 4, 20, 30),
            (300, 200, 11, 30, 150, 200, 33, 21), (20, 300, 100, 0, 180, 20, 40, 40), (1, 1, 0, 0, 1, 1, 8, 8)]):
        for by in "nearest", "bilinear", "bicubic":
            yield reference("crop", args + [by], width, height, seed)


def reference(op, args, width, height, seed):
    out = OPS[op](picture(width, height, seed), *args)
    assert out.mode == "RGB"
    case = {"op": op, "args": args, "width": width, "height": height, "seed": seed, "sha256": hashlib.sha256(out.tobytes()).hexdigest()[:16]}
    if width * height < 400 and op in ("rotate", "policy", "hue"):
        case["pix"] = base64.b64encode(out.tobytes()).decode()
    return case


def spaces():
    sizes = [(224, 224), (300, 260)]
    for policy in v2.TrivialAugmentWide, v2.RandAugment:
        for bins in 31, 10, 2:
            for width, height in sizes if policy is v2.RandAugment else sizes[:1]:
                rows = []
                for name, (magnitudes, signed) in policy._AUGMENTATION_SPACE.items():
                    m = magnitudes(bins, height, width)
                    rows.append({"name": name, "magnitudes": None if m is None else [float(v) for v in m], "signed": signed})
                yield {"policy": policy.__name__, "bins": bins, "width": width, "height": height, "operations": rows}


SIZE, MODE = 32, v2.InterpolationMode
RRC = v2.RandomResizedCrop(SIZE, interpolation=MODE.BICUBIC)
MODEL = [v2.Resize(40, interpolation=MODE.BICUBIC), v2.CenterCrop(SIZE)]
TENSOR = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
NORMALIZE = [v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
VIEWS = [
    ("RandomResizedCrop", [RRC]),
    ("RandomResizedCrop(scale=0.35:1,ratio=0.5:2)", [v2.RandomResizedCrop(SIZE, (0.35, 1), (0.5, 2), MODE.BICUBIC)]),
    ("RandomResizedCrop(scale=0.9:1,ratio=3:5)", [v2.RandomResizedCrop(SIZE, (0.9, 1), (3, 5), MODE.BICUBIC)]),
    ("RandomResizedCrop(scale=0.9:1,ratio=0.1:0.2)", [v2.RandomResizedCrop(SIZE, (0.9, 1), (0.1, 0.2), MODE.BICUBIC)]),
    ("RandomHorizontalFlip", MODEL + [v2.RandomHorizontalFlip()]),
    ("RandomVerticalFlip(p=0.3),RandomHorizontalFlip(p=0.7)", MODEL + [v2.RandomVerticalFlip(0.3), v2.RandomHorizontalFlip(0.7)]),
    ("RandomRotation(degrees=40)", MODEL + [v2.RandomRotation(40)]),
    ("RandomRotation(degrees=-90:10,interpolation=bilinear,fill=124:116:104)",
     MODEL + [v2.RandomRotation((-90, 10), MODE.BILINEAR, fill=(124, 116, 104))]),
    ("ColorJitter(brightness=0.4,contrast=0.4,saturation=0.4,hue=0.1)", MODEL + [v2.ColorJitter(0.4, 0.4, 0.4, 0.1)]),
    ("ColorJitter(brightness=1.5,saturation=0.1:3)", MODEL + [v2.ColorJitter(1.5, 0, (0.1, 3.0), 0)]),
    ("RandomGrayscale(p=0.5)", MODEL + [v2.RandomGrayscale(0.5)]),
    ("TrivialAugmentWide", MODEL + [v2.TrivialAugmentWide()]),
    ("TrivialAugmentWide(num_magnitude_bins=10,interpolation=bilinear,fill=128)",
     MODEL + [v2.TrivialAugmentWide(10, MODE.BILINEAR, fill=128)]),
    ("RandAugment", MODEL + [v2.RandAugment()]),
    ("RandAugment(num_ops=3,magnitude=20,interpolation=bilinear)", MODEL + [v2.RandAugment(3, 20, interpolation=MODE.BILINEAR)]),
    ("RandomErasing", MODEL + TENSOR + NORMALIZE + [v2.RandomErasing()]),
    ("RandomErasing(p=1,value=random)", MODEL + TENSOR + NORMALIZE + [v2.RandomErasing(1, value="random")]),
    ("RandomErasing(p=0.9,scale=0.001:0.02,value=random),RandomErasing(p=1,scale=0.5:1,ratio=0.1:10,value=-1.5)",
     MODEL + TENSOR + NORMALIZE + [v2.RandomErasing(0.9, (0.001, 0.02), value="random"), v2.RandomErasing(1, (0.5, 1), (0.1, 10), -1.5)]),
    ("trivial", [RRC, v2.RandomHorizontalFlip(), v2.TrivialAugmentWide(interpolation=MODE.BILINEAR)] + TENSOR + NORMALIZE + [v2.RandomErasing(0.1)]),
    ("rand", [RRC, v2.RandomHorizontalFlip(), v2.RandAugment(interpolation=MODE.BILINEAR)]),
    ("light", [v2.RandomResizedCrop(SIZE, (0.35, 1), interpolation=MODE.BICUBIC), v2.RandomHorizontalFlip()]),
]


def views():
    """Whole pipelines after torch.manual_seed: digests of the pictures, or of tensors their sum and some values."""
    for i, (text, steps) in enumerate(VIEWS):
        compose = v2.Compose(steps)
        view = {"text": text, "height": 80 - 3 * i}
        for seed in range(60):
            im = picture(90 + 7 * (seed % 5), 80 - 3 * i, seed)
            torch.manual_seed(seed)
            out = compose(im)
            if isinstance(out, torch.Tensor):
                a = out.permute(1, 2, 0).double().numpy().ravel()
                r = ranqd1(seed)
                view.setdefault("tensors", []).append([round(float(v), 4) for v in [a.sum()] + [a[next(r) % a.size] for _ in range(6)]])
            else:
                view.setdefault("pictures", []).append(hashlib.sha256(out.tobytes()).hexdigest()[:12])
        yield view


def batches():
    n, h, w, c, classes = 3, 20, 24, 3, 4
    for mix in v2.MixUp, v2.CutMix:
        for alpha in 0.1, 0.2, 0.8, 1.0, 4.0:
            for seed in range(6):
                r = ranqd1(seed)
                x = torch.tensor([next(r) % 256 / 256 for _ in range(n * h * w * c)]).reshape(n, h, w, c)
                labels = torch.tensor([next(r) % classes for _ in range(n)])
                torch.manual_seed(seed)
                y, t = mix(alpha=alpha, num_classes=classes)(x.permute(0, 3, 1, 2), labels)
                y = y.permute(0, 2, 3, 1).contiguous().numpy()
                yield {"mix": mix.__name__, "alpha": alpha, "seed": seed, "shape": [n, h, w, c], "classes": classes, "labels": labels.tolist(),
                       "sha256": hashlib.sha256(y.astype("<f4").tobytes()).hexdigest()[:16], "targets": [float(v) for v in t.ravel()]}


for name, rows in ("ops", operations()), ("spaces", spaces()), ("views", views()), ("batches", batches()):
    with open(f"{HERE}/{name}.json", "w") as f:
        f.write("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
