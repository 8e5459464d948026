"""Writes layers.json: the output and gradients of small networks in PyTorch, with the weights and input
of ../../testutil/testdata/formula.py. The input's numbers are also the loss's derivative by the output.

    python layers.py
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[2] / "testutil/testdata"))
from formula import fill_model, make_input



class Expression(nn.Module):
    """A formula of x and of parameters of given shapes."""

    def __init__(self, formula, **shapes):
        super().__init__()
        self.formula = formula
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def forward(self, x):
        return self.formula(x, *self.parameters())


def conv(i, o, k=1, **args):
    return nn.Conv2d(i, o, k, **args)


def attend(heads, scale, x, bias=None, e=None):
    """Attention of [N, L, 3·heads·d], with a bias [M, heads, L, L] of which sample n gets n mod M."""
    n, l, _ = x.shape
    q, k, v = x.reshape(n, l, 3, heads, -1).permute(2, 0, 3, 1, 4)
    scores = scale * q @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias.repeat(n // len(bias), 1, 1, 1)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def squeeze(x):
    return x * F.adaptive_avg_pool2d(x, 1).sigmoid()


def act(module, gain):
    return gain, (4, 5, 3), [], [nn.Linear(3, 9), module, nn.Linear(9, 3)]


shared = nn.Linear(5, 5)
index = torch.tensor([[3, 0, 2], [2, 2, 1]])
mask = torch.tensor([0.0, 1, 2, -3]).reshape(2, 1, 2, 1).expand(2, 1, 2, 2) * torch.tensor([1.0, -0.5])

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
    "tokens": (1, (2, 5, 7), [], [nn.Linear(7, 40), nn.Linear(40, 6)]),
    "bias alone": (1, (2, 5, 7), ["0.weight", "1.weight"], [nn.Linear(7, 4), nn.Linear(4, 6)]),
    "groups": (1, (2, 4, 5, 6), [], [conv(4, 6), conv(6, 9, 3, padding=1, groups=3), conv(9, 18, 2, groups=9, stride=2)]),
    "grouped 1x1": (1, (2, 4, 3, 3), [], [conv(4, 6), conv(6, 4, groups=2)]),
    "depthwise": (1, (2, 3, 7, 6), [], [conv(3, 20), conv(20, 20, 3, padding=1, groups=20), conv(20, 2)]),
    "depthwise at a stride": (
        1, (2, 3, 9, 8), [],
        [conv(3, 20), conv(20, 20, 5, padding=2, stride=2, groups=20), conv(20, 20, 3, padding=1, stride=(1, 2), groups=20, bias=False)],
    ),
    "depthwise, dilated": (1, (1, 3, 8, 9), [], [conv(3, 5), conv(5, 5, 3, padding=(2, 0), dilation=2, groups=5)]),
    "depthwise without overlap": (1, (1, 3, 7, 9), [], [conv(3, 5), conv(5, 5, 2, stride=3, groups=5)]),
    "depthwise, dilated at a stride": (1, (1, 3, 8, 9), [], [conv(3, 4), conv(4, 4, 2, dilation=2, stride=2, groups=4)]),
    "depthwise, padded on one side": (
        1, (1, 3, 6, 7), [], [conv(3, 5), Expression(lambda x: F.pad(x, (0, 1, 0, 1))), conv(5, 5, 3, stride=2, groups=5)],
    ),
    "padded on one side": (
        1, (1, 3, 6, 7), [], [conv(3, 5), Expression(lambda x: F.pad(x, (0, 1, 0, 1))), conv(5, 4, 3, stride=2)],
    ),
    "batch norm": (1, (3, 2, 3, 4), [], [conv(2, 5, bias=False), nn.BatchNorm2d(5), conv(5, 3)]),
    "batch norm, act": (
        1, (3, 2, 5, 4), [], [conv(2, 5, 3, bias=False), nn.BatchNorm2d(5, eps=1e-3), nn.SiLU(), conv(5, 3, 2, padding=1), nn.BatchNorm2d(3), nn.ReLU()],
    ),
    "batch norm of the input": (1, (3, 2, 3, 4), [], [nn.BatchNorm2d(2), nn.ReLU(), conv(2, 3), nn.BatchNorm2d(3)]),
    "batch norm, frozen": (
        1, (3, 2, 3, 4), ["1.weight", "1.bias", "2.weight"], [conv(2, 5), nn.BatchNorm2d(5), conv(5, 5), nn.BatchNorm2d(5), nn.Hardswish(), conv(5, 3)],
    ),
    "layer norm": (1, (3, 4, 5), [], [nn.Linear(5, 7), nn.LayerNorm(7, eps=1e-3), nn.Linear(7, 3), nn.LayerNorm(3)]),
    "layer norm of pixels": (
        1, (2, 3, 3, 2), [],
        [conv(3, 20), Expression(lambda x: x.permute(0, 2, 3, 1)), nn.LayerNorm(20), nn.Linear(20, 4), Expression(lambda x: x.permute(0, 3, 1, 2)), conv(4, 3)],
    ),
    "Sigmoid": act(nn.Sigmoid(), 2),
    "Hardsigmoid": act(nn.Hardsigmoid(), 3),
    "GELU": act(nn.GELU(), 2),
    "GELU(tanh)": act(nn.GELU("tanh"), 2),
    "Tanh": act(nn.Tanh(), 2),
    "exp": act(Expression(lambda x: x.clamp(max=0.3).exp()), 1),
    "softmax": (1, (2, 3, 4), [], [nn.Linear(4, 5), nn.Softmax(2), nn.Linear(5, 2)]),
    "softmax of channels": (1, (2, 3, 2, 2), [], [conv(3, 5), nn.Softmax(1)]),
    "L2 norm": (1, (2, 3, 4), [], [nn.Linear(4, 5), Expression(lambda x: F.normalize(x, dim=-1)), nn.Linear(5, 2)]),
    "affine": (
        1, (2, 3, 2, 2), [],
        [conv(3, 2), Expression(lambda x: x * torch.tensor([2.0, -1]).reshape(2, 1, 1) + torch.tensor([0.5, 1]).reshape(2, 1, 1)), conv(2, 3)],
    ),
    "residual": (1, (2, 3, 4, 3), [], [conv(3, 5), Expression(lambda x, w: F.relu(x + F.conv2d(x, w, padding=1)), weight=(5, 5, 3, 3)), conv(5, 2)]),
    "residual of itself": (1, (2, 5), [], [nn.Linear(5, 4), Expression(lambda x, w: x + F.silu(F.linear(x, w)) + x, weight=(4, 4)), nn.Linear(4, 3)]),
    "squeeze and excitation": (2, (2, 3, 4, 5), [], [conv(3, 20), nn.BatchNorm2d(20), nn.SiLU(), Expression(squeeze), conv(20, 2), nn.BatchNorm2d(2)]),
    "squeeze after depthwise": (
        2, (2, 3, 5, 5), [], [conv(3, 20), nn.BatchNorm2d(20), nn.SiLU(), conv(20, 20, 3, padding=1, stride=2, groups=20), nn.BatchNorm2d(20), nn.SiLU(), Expression(squeeze), conv(20, 2), nn.BatchNorm2d(2)],
    ),
    "product": (1, (2, 4), [], [nn.Linear(4, 5), Expression(lambda x, w: x * F.linear(x, w).sigmoid(), weight=(5, 5)), nn.Linear(5, 3)]),
    "scaled channels": (1, (2, 3, 3, 2), [], [conv(3, 5), Expression(lambda x, s: x * s, scale=(5, 1, 1)), conv(5, 2)]),
    "scaled by one": (1, (2, 3, 4), [], [nn.Linear(4, 3), Expression(lambda x, s: x * s, scale=(1,)), nn.Linear(3, 2)]),
    "scaled rows": (1, (2, 3, 4), [], [nn.Linear(4, 5), Expression(lambda x, s: s * x, scale=(3, 1)), nn.Linear(5, 2)]),
    "scaled by head": (1, (2, 3, 4), [], [nn.Linear(4, 6), Expression(lambda x, s: (x.reshape(2, 3, 2, 3) * s).flatten(2), scale=(2, 1)), nn.Linear(6, 2)]),
    "outer sum": (1, (1, 1, 4), [], [nn.Linear(4, 5), Expression(lambda x, s: x + s, shift=(2, 3, 1)), nn.Linear(5, 2)]),
    "constants": (1, (2, 3, 4), [], [nn.Linear(4, 5), Expression(lambda x: x * torch.arange(5.0) + torch.tensor(2.0)), nn.Linear(5, 2)]),
    "positions": (1, (2, 3, 4), [], [Expression(lambda x, p: x + p, positions=(1, 3, 4)), nn.Linear(4, 5), Expression(lambda x, p: x + p, positions=(1, 3, 5))]),
    "class token": (
        1, (2, 3, 4), [], [nn.Linear(4, 5), Expression(lambda x, t: torch.cat([t.expand(2, -1, -1), x], 1), token=(1, 1, 5)), Expression(lambda x: x[:, 0]), nn.Linear(5, 2)],
    ),
    "concatenation": (1, (2, 3, 3, 2), [], [conv(3, 5), Expression(lambda x, w: torch.cat([x, F.conv2d(x, w).relu(), x], 1), weight=(4, 5, 1, 1)), nn.BatchNorm2d(14), conv(14, 2)]),
    "slices": (1, (2, 3, 4), [], [nn.Linear(4, 6), Expression(lambda x: x[..., :2] * x[..., 2:4] + x[..., 3:5]), nn.Linear(2, 2)]),
    "shuffle": (
        1, (2, 3, 3, 2), [], [conv(3, 6), Expression(lambda x: x.reshape(2, 2, 3, 3, 2).permute(0, 2, 1, 3, 4).reshape(2, 6, 3, 2)), conv(6, 2, 2)],
    ),
    "flatten": (1, (2, 3, 3, 2), [], [conv(3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(30, 3)]),
    "padding and rolling": (
        1, (1, 3, 2, 4), [], [nn.Linear(4, 3), Expression(lambda x: torch.roll(F.pad(x, (0, 0, 0, 1, 1, 0)), (1, -2), (1, 2))), nn.Linear(3, 2)],
    ),
    "gather": (1, (2, 2, 2), [], [nn.Linear(2, 3), Expression(lambda x, t: x.reshape(4, 3)[index] + t[index], table=(4, 3)), nn.Linear(3, 2)]),
    "average pool, padded": (1, (2, 2, 5, 6), [], [conv(2, 3), nn.AvgPool2d(3, 2, 1, ceil_mode=True), conv(3, 2)]),
    "average pool, ceil": (1, (2, 2, 5, 6), [], [conv(2, 3), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), conv(3, 2)]),
    "adaptive pool": (1, (2, 2, 5, 7), [], [conv(2, 3), nn.AdaptiveAvgPool2d((3, 2)), conv(3, 2)]),
    "max pool, dilated": (1, (2, 2, 7, 7), [], [conv(2, 3), nn.MaxPool2d(2, 1, 1, dilation=2), conv(3, 2)]),
    "mean of tokens": (1, (2, 3, 4), [], [nn.Linear(4, 5), Expression(lambda x: x.mean(1)), nn.Linear(5, 2)]),
    "mean of features": (1, (2, 3, 4), [], [nn.Linear(4, 5), Expression(lambda x: x.mean(2)), nn.Linear(3, 2)]),
    "attention": (1, (2, 5, 4), [], [nn.Linear(4, 18), Expression(lambda x: attend(2, 0.6, x)), nn.Linear(6, 2)]),
    "attention with a bias": (1.5, (4, 3, 4), [], [nn.Linear(4, 12), Expression(lambda x, b: attend(2, 0.5, x, b), bias=(1, 2, 3, 3)), nn.Linear(4, 2)]),
    "attention in windows": (
        1.5, (6, 2, 4), [], [nn.Linear(4, 12), Expression(lambda x, b: attend(2, 0.5, x, b + mask), bias=(1, 2, 2, 2)), nn.Linear(4, 2)],
    ),
    "dropout of an image": (1, (2, 2, 3, 2), [], [conv(2, 3), nn.Dropout(0.4), conv(3, 2)]),
    "stochastic depth": (1, (5, 2, 3), [], [nn.Linear(3, 4), torchvision.ops.StochasticDepth(0.4, "row"), nn.Linear(4, 2)]),
    "stochastic depth of an image": (1, (5, 2, 2, 1), [], [conv(2, 3), torchvision.ops.StochasticDepth(0.6, "row"), nn.Dropout(0.5), conv(3, 2)]),
}


def numbers(t):
    return [float(f"{v:.8g}") for v in t.detach().double().flatten().tolist()]


torch.set_num_threads(1)
out = {}
for name, (gain, shape, frozen, layers) in cases.items():
    model = nn.Sequential(*layers)
    fill_model(model, gain)
    model.double()
    for path, p in model.named_parameters():
        p.requires_grad = path not in frozen
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d) and not any(p.requires_grad for p in m.parameters()):
            m.eval()
    torch.manual_seed(7)
    y = model(make_input(shape).double())
    y.backward(make_input(y.shape).double())
    out[name] = {
        "output": numbers(y),
        "gradients": {path: numbers(p.grad) for path, p in model.named_parameters() if p.requires_grad},
        "buffers": {path: numbers(b) for path, b in model.named_buffers() if "running" in path},
    }
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in out.items())
pathlib.Path(__file__).with_name("layers.json").write_text("{\n" + lines + "\n}\n")
