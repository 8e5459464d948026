"""Writes positions.json: position embeddings that torchvision and timm resized."""

import json
import pathlib

import torch
from timm.layers import resample_abs_pos_embed
from torchvision.models.vision_transformer import interpolate_embeddings

FEATURES = 2
SIZES = [(4, 7), (7, 4), (5, 12), (12, 5), (3, 2), (2, 1), (1, 3), (37, 16)]


def torchvision(pos, to):
    return interpolate_embeddings(to, 1, {"encoder.pos_embedding": pos})["encoder.pos_embedding"]


def timm(pos, to):
    return resample_abs_pos_embed(pos, [to, to])


def values(tensor):
    """The first 64 numbers."""
    return [float(f"{v:.7g}") for v in tensor.flatten().tolist()[:64]]


out = {}
for resize in (torchvision, timm):
    for size, to in SIZES:
        n = 1 + size * size
        # Reproducible everywhere: sines of the position.
        pos = torch.sin(torch.arange(n * FEATURES, dtype=torch.float64) * 0.7).reshape(1, n, FEATURES)
        out.setdefault(resize.__name__, []).append({"from": size, "to": to, "want": values(resize(pos.float(), to))})
lines = ",\n".join(f'"{k}": [\n' + ",\n".join(map(json.dumps, v)) + "\n]" for k, v in out.items())
pathlib.Path(__file__).with_name("positions.json").write_text(f"{{\n{lines}\n}}\n")
