"""Writes tensteps.json: the losses of ten steps of SGD with EfficientNet-B0 in PyTorch, in float64, with the
weights and input of ../../testutil/testdata/formula.py and without dropout and stochastic depth.

    python tensteps.py
"""

import json
import pathlib
import sys

import torch
import torchvision
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[2] / "testutil/testdata"))
from formula import fill_model, make_input

torch.set_num_threads(1)
model = torchvision.models.efficientnet_b0(num_classes=10).train()
for m in model.modules():
    if isinstance(m, (nn.Dropout, torchvision.ops.StochasticDepth)):
        m.p = 0.0
fill_model(model, 1.2)
model.double()
x, y = make_input((4, 3, 64, 64)).double(), torch.arange(4)
optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.01), []
for _ in range(10):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(f"{loss.item():.8g}"))
pathlib.Path(__file__).with_name("tensteps.json").write_text(json.dumps(losses) + "\n")
