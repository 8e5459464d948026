"""Writes tinyvgg.json: loss and gradients of one training step of TinyVGG in PyTorch, and what ten
steps of Adam lead to, with the weights and input of ../../testutil/testdata/formula.py.

    python tinyvgg.py
"""

import json
import pathlib
import sys

import torch
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[2] / "testutil/testdata"))
from formula import fill_model, make_input


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3), nn.ReLU(), nn.Conv2d(o, o, 3), nn.ReLU(), nn.MaxPool2d(2))


class TinyVGG(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_block_1, self.conv_block_2 = block(3, 10), block(10, 10)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(1690, 3))

    def forward(self, x):
        return self.classifier(self.conv_block_2(self.conv_block_1(x)))


def digest(t):
    flat = t.detach().double().flatten()
    return {"first": [float(f"{v:.8g}") for v in flat[:8]], "norm": float(f"{flat.norm():.8g}")}


torch.set_num_threads(1)
model = TinyVGG()
fill_model(model, 1.4)
x, y = make_input((4, 3, 64, 64)), torch.tensor([0, 1, 2, 1])
optimizer, loss_fn = torch.optim.Adam(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()
out = {"losses": []}
for step in range(10):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    if step == 0:
        out["gradients"] = {n: digest(p.grad) for n, p in model.named_parameters()}
    optimizer.step()
    out["losses"].append(float(f"{loss.item():.8g}"))
out["weights"] = {n: digest(p) for n, p in model.named_parameters()}
pathlib.Path(__file__).with_name("tinyvgg.json").write_text(json.dumps(out, indent=1) + "\n")
