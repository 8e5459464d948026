"""Writes init.json: what TinyVGG starts from in PyTorch after torch.manual_seed, as the first numbers
and the SHA-256 of each parameter's bytes.

    python init.py
"""

import hashlib
import json
import pathlib

import torch
from torch import nn


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3), nn.ReLU(), nn.Conv2d(o, o, 3), nn.ReLU(), nn.MaxPool2d(2))


class TinyVGG(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_block_1, self.conv_block_2 = block(3, 10), block(10, 10)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(1690, 3))


out = []
for seed in (0, 42, 2**40 + 1):
    torch.manual_seed(seed)
    parameters = [
        {
            "name": name,
            "first": p.detach().flatten()[:3].tolist(),
            "sha256": hashlib.sha256(p.detach().numpy().astype("<f4").tobytes()).hexdigest(),
        }
        for name, p in TinyVGG().named_parameters()
    ]
    out.append({"seed": seed, "parameters": parameters, "next": torch.rand(1).item()})
pathlib.Path(__file__).with_name("init.json").write_text(json.dumps(out, indent=1) + "\n")
