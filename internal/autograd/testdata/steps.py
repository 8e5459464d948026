"""Writes steps.json: one training step of a network of each family in PyTorch, in float64, with the weights
and the input of ../../testutil/testdata/formula.py and without dropout and stochastic depth.

    python steps.py            all networks
    python steps.py NAME ...   these alone; the others' entries stay

Each entry holds, for a batch of images and the labels 0, 1, 2, …:

    loss        cross-entropy
    gradients   of each parameter: the norm, and the product with the formula's input of as many numbers
    weights     the sum of those products for the parameters after a step of SGD with learning rate 0.01
    statistics  the products for each running statistic
    error       how far PyTorch's own gradients are off, relative to the norm, at most: in float32, and in
                float64 when the input is off by a millionth, which may move a number across the kink of an
                activation
"""

import json
import pathlib
import sys

import torch
import torchvision
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[2] / "testutil/testdata"))
sys.path.append(str(pathlib.Path(__file__).parents[2] / "models/testdata"))
from architectures import build
from formula import centre_and_spread, fill, fill_model, make_input

PATH = pathlib.Path(__file__).with_name("steps.json")

# name: batch, image size
NETWORKS = {
    "alexnet": (4, 96),
    "convnext_tiny": (3, 64),
    "deit_tiny_patch16_224": (2, 224),
    "densenet121": (4, 96),
    "efficientnet_b0": (4, 64),
    "efficientnet_lite0": (4, 72),
    "efficientnet_v2_s": (4, 64),
    "googlenet": (4, 96),
    "inception_v3": (4, 128),
    "maxvit_t": (2, 224),
    "mnasnet0_5": (4, 64),
    "mobilenet_v2": (4, 64),
    "mobilenet_v3_small": (4, 64),
    "mobilenetv4_conv_small": (4, 64),
    "regnet_y_400mf": (4, 96),
    "resnet18": (4, 64),
    "resnext50_32x4d": (4, 96),
    "shufflenet_v2_x0_5": (4, 72),
    "squeezenet1_1": (3, 64),
    "swin_t": (2, 64),
    "swin_v2_t": (2, 64),
    "vgg11_bn": (3, 64),
    "vit_b_16": (1, 224),
    "vit_small_patch14_dinov2": (1, 518),
}

GAINS = json.loads((pathlib.Path(__file__).parents[2] / "models/testdata/parity.json").read_text())


def checksum(t):
    return float(t.detach().double().flatten() @ make_input((t.numel(),)).double())


def rounded(v):
    return float(f"{float(v):.6g}")


def step(model, x, dtype):
    model.to(dtype)
    y = model(x.to(dtype))
    y = getattr(y, "logits", y)
    loss = nn.functional.cross_entropy(y, torch.arange(len(x)))
    model.zero_grad()
    loss.backward()
    return loss.detach(), {n: p.grad.clone().double() for n, p in model.named_parameters() if p.grad is not None}


def difference(some, grads):
    largest = max(g.norm() for g in grads.values())
    return max(float((some[n] - g).norm() / g.norm()) for n, g in grads.items() if g.norm() > 1e-6 * largest)


def fill_statistics(model, gain):
    with torch.no_grad():
        for n, b in model.named_buffers():
            if n.endswith(("running_mean", "running_var")):
                single = b.float()
                fill(single, n, *centre_and_spread(n, b.shape, gain))
                b.copy_(single)


def entry(name):
    batch, size = NETWORKS[name]
    model = build(name)
    for m in model.modules():
        if isinstance(m, (nn.Dropout, torchvision.ops.StochasticDepth)):
            m.p = 0.0
    for aux in ("aux1", "aux2", "AuxLogits"):  # they have losses of their own
        if hasattr(model, aux):
            setattr(model, aux, None)
    gain = GAINS[name]["gain"]
    x = make_input((batch, 3, size, size))
    fill_model(model.train(), gain)
    _, single = step(model, x, torch.float32)
    model.float()
    fill_model(model, gain)
    loss, grads = step(model, x, torch.float64)
    error = difference(single, grads)
    for seed in range(4):
        noise = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        fill_statistics(model, gain)
        _, moved = step(model, x.double() + 1e-6 * noise, torch.float64)
        error = max(error, difference(moved, grads))
    fill_statistics(model, gain)
    step(model, x, torch.float64)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n in grads:
                p -= 0.01 * grads[n]
    statistics = {n: rounded(checksum(b)) for n, b in model.named_buffers() if "running" in n}
    print(f"{name}: loss {loss.item():.6g}, float32 is off by {error:.2g}", flush=True)
    return {
        "batch": batch, "size": size, "gain": gain, "error": float(f"{error:.2g}"), "loss": rounded(loss),
        "gradients": [[rounded(g.norm()), rounded(checksum(g))] for g in grads.values()],
        "weights": rounded(sum(checksum(p) for n, p in model.named_parameters() if n in grads)),
        "statistics": list(statistics.values()),
    }


torch.set_num_threads(1)
for name in sys.argv[1:] or NETWORKS:
    new = entry(name)
    entries = json.loads(PATH.read_text()) if PATH.exists() else {}
    entries[name] = new
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in sorted(entries.items()))
    PATH.write_text(f"{{\n{lines}\n}}\n")
