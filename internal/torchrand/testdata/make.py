"""Writes torchrand.json: what PyTorch's generator gives after torch.manual_seed.

    python make.py
"""

import json
import pathlib

import torch
from torch import nn

torch.set_num_threads(1)
out = []
for seed in (0, 42, 2**32 + 5, 2**63 + 12345):
    torch.manual_seed(seed)
    layer = nn.Linear(5, 3)
    order = torch.randperm(225).tolist()
    kept = (nn.functional.dropout(torch.ones(700), 0.2) != 0).int().tolist()
    out.append({
        "seed": seed,
        "weight": layer.weight.detach().flatten().tolist(),
        "bias": layer.bias.detach().tolist(),
        "order": order,
        "kept": "".join(map(str, kept)),
        "next": torch.rand(1).item(),
    })
pathlib.Path(__file__).with_name("torchrand.json").write_text(json.dumps(out) + "\n")
