"""Writes layers.json: the output and gradients of small networks in PyTorch, with the weights and input
of ../../testutil/testdata/formula.py. The input's numbers are also the loss's derivative by the output.

    python layers.py
"""

import json
import pathlib
import sys

import torch
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[2] / "testutil/testdata"))
from formula import fill_model, make_input

shared = nn.Linear(5, 5)

# name: (gain of the weights, shape of the input, frozen parameters, layers)
cases = {
    "linear": (1, (6, 7), [], [nn.Linear(7, 5)]),
    "linear twice": (1, (6, 7), [], [nn.Linear(7, 40, bias=False), nn.Linear(40, 4)]),
    "shared": (1, (3, 5), [], [shared, nn.SiLU(), shared]),
    "conv": (1, (2, 3, 6, 5), [], [nn.Conv2d(3, 4, 3), nn.Flatten()]),
    "conv, padded at a stride": (
        1, (2, 3, 6, 5), [], [nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 2)), nn.Conv2d(4, 2, 1, bias=False), nn.Flatten()],
    ),
    "conv, dilated": (
        1, (2, 2, 7, 6), [], [nn.Conv2d(2, 3, 3, 1, 2, (2, 1)), nn.Conv2d(3, 5, (2, 3), 2, 1, (1, 2)), nn.Flatten()],
    ),
    "ReLU": (1, (6, 7), [], [nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 3)]),
    "ReLU6": (4, (6, 7), [], [nn.Linear(7, 9), nn.ReLU6(), nn.Linear(9, 3)]),
    "SiLU": (2, (6, 7), [], [nn.Linear(7, 9), nn.SiLU(), nn.Linear(9, 3)]),
    "Hardswish": (2, (6, 7), [], [nn.Linear(7, 9), nn.Hardswish(), nn.Linear(9, 3)]),
    "dropout": (1, (6, 7), [], [nn.Linear(7, 20), nn.Dropout(0.4), nn.Linear(20, 3)]),
    "dropout of the input": (1, (6, 30), [], [nn.Dropout(0.3), nn.Linear(30, 3)]),
    "dropout of nothing": (1, (6, 7), [], [nn.Linear(7, 20), nn.Dropout(0.0), nn.Dropout(0.5), nn.Linear(20, 3)]),
    "inert dropout": (
        1, (6, 7), ["1.1.weight", "1.1.bias"], [nn.Linear(7, 20), nn.Sequential(nn.Dropout(0.5), nn.Linear(20, 3)).eval()],
    ),
    "max pool": (
        1, (2, 2, 6, 7), [], [nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(36, 3)],
    ),
    "max pool, ceil": (
        1, (2, 2, 6, 7), [], [nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, 2, 0, ceil_mode=True), nn.Flatten(), nn.Linear(27, 3)],
    ),
    "average pool": (
        1, (2, 2, 5, 7), [], [nn.Conv2d(2, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)],
    ),
    "frozen between": (
        1, (2, 2, 5, 4), ["0.bias", "2.weight", "2.bias", "4.weight"],
        [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 2), nn.Flatten(), nn.Linear(36, 3)],
    ),
}


def numbers(t):
    return [float(f"{v:.8g}") for v in t.detach().double().flatten().tolist()]


torch.set_num_threads(1)
out = {}
for name, (gain, shape, frozen, layers) in cases.items():
    model = nn.Sequential(*layers)
    fill_model(model, gain)
    for path, p in model.named_parameters():
        p.requires_grad = path not in frozen
    torch.manual_seed(7)
    y = model(make_input(shape))
    y.backward(make_input(y.shape))
    out[name] = {
        "output": numbers(y),
        "gradients": {path: numbers(p.grad) for path, p in model.named_parameters() if p.requires_grad},
    }
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in out.items())
pathlib.Path(__file__).with_name("layers.json").write_text("{\n" + lines + "\n}\n")
