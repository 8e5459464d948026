"""Writes reference.json: what PyTorch's optimizers, schedules, losses, clipping and averaged weights come
to on small problems.

    python reference.py
"""

import json
import math
import pathlib

import torch
from torch import nn
from torch.optim import lr_scheduler as schedules
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.set_num_threads(1)
SHAPES = {"weight": (4, 3), "bias": (4,)}


def values(seed, n):
    return torch.tensor([math.sin(1.3 * seed + 0.7 * i * (seed + 1)) for i in range(n)], dtype=torch.float64).float()


def parameters():
    return {k: nn.Parameter(values(i, math.prod(s)).reshape(s)) for i, (k, s) in enumerate(SHAPES.items())}


def set_gradients(params, step):
    for i, p in enumerate(params.values()):
        p.grad = (values(10 + 2 * step + i, p.numel()) * 0.3).reshape(p.shape)


def run(make, schedule=None, steps=20):
    """The parameters after 1, 10 and all steps."""
    params = parameters()
    optimizer = make(params)
    schedule = schedule and schedule(optimizer)
    after = []
    for step in range(steps):
        set_gradients(params, step)
        optimizer.step()
        if schedule:
            schedule.step()
        if step in (0, 9, steps - 1):
            after.append({k: p.detach().flatten().tolist() for k, p in params.items()})
    return after


def groups(params, **bias):
    return [{"params": [params["weight"]]}, {"params": [params["bias"]], **bias}]


optim = torch.optim
optimizers = {
    "adam": run(lambda p: optim.Adam(p.values())),
    "adam, weight decay": run(lambda p: optim.Adam(p.values(), lr=0.01, weight_decay=0.1, betas=(0.8, 0.99), eps=1e-6)),
    "adamw": run(lambda p: optim.AdamW(p.values(), lr=0.01)),
    "adamw, vectors spared": run(lambda p: optim.AdamW(groups(p, weight_decay=0), lr=0.01, weight_decay=0.3)),
    "sgd": run(lambda p: optim.SGD(p.values())),
    "sgd, momentum": run(lambda p: optim.SGD(p.values(), lr=0.05, momentum=0.9)),
    "sgd, weight decay": run(lambda p: optim.SGD(p.values(), lr=0.05, weight_decay=0.2)),
    "sgd, Nesterov": run(lambda p: optim.SGD(p.values(), lr=0.05, momentum=0.8, weight_decay=0.1, nesterov=True)),
    "sgd, rates of their own": run(lambda p: optim.SGD(groups(p, lr=0.005), lr=0.05, momentum=0.9)),
    "adam, onecycle": run(
        lambda p: optim.Adam(p.values(), lr=0.01), lambda o: schedules.OneCycleLR(o, 0.01, total_steps=21)
    ),
}


def rates(make, lr=0.1, momentum=0.9, steps=30):
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=momentum)
    schedule = make(optimizer)
    result = []
    for step in range(steps):
        group = optimizer.param_groups[0]
        result.append([group["lr"], group["momentum"]])
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    return result


def warm(steps, factor, main):
    def make(optimizer):
        first = schedules.LinearLR(optimizer, start_factor=factor, total_iters=steps)
        return schedules.SequentialLR(optimizer, [first, main(optimizer)], milestones=[steps])

    return make


S = schedules
schedule_cases = {
    "constant": rates(lambda o: S.ConstantLR(o, factor=1)),
    "constant, warm-up": rates(warm(5, 1 / 3, lambda o: S.ConstantLR(o, factor=1))),
    "step": rates(lambda o: S.StepLR(o, step_size=10)),
    "step, warm-up": rates(warm(8, 0.01, lambda o: S.StepLR(o, step_size=5, gamma=0.5))),
    "cosine": rates(lambda o: S.CosineAnnealingLR(o, T_max=30)),
    "cosine, warm-up": rates(warm(5, 0.1, lambda o: S.CosineAnnealingLR(o, T_max=25, eta_min=0.001))),
    "onecycle": rates(lambda o: S.OneCycleLR(o, 0.1, total_steps=30)),
    "onecycle, early peak": rates(lambda o: S.OneCycleLR(o, 0.1, total_steps=30, pct_start=0.15)),
}

logits = values(3, 20).reshape(5, 4) * 3
labels = torch.tensor([0, 3, 1, 1, 2])
soft = torch.softmax(values(4, 20).reshape(5, 4) * 2, 1)
weight = torch.tensor([0.5, 2.0, 1.0, 0.25])


def loss(target, **kwargs):
    x = logits.clone().requires_grad_()
    value = nn.CrossEntropyLoss(**kwargs)(x, target)
    value.backward()
    return {"loss": value.item(), "grad": x.grad.flatten().tolist()}


losses = {
    "plain": loss(labels),
    "smoothed": loss(labels, label_smoothing=0.1),
    "weighted": loss(labels, weight=weight),
    "smoothed, weighted": loss(labels, weight=weight, label_smoothing=0.2),
    "soft": loss(soft),
    "soft, smoothed": loss(soft, label_smoothing=0.1),
    "soft, smoothed, weighted": loss(soft, weight=weight, label_smoothing=0.2),
}


class Affine(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = parameters().values()
        self.register_buffer("running_mean", values(7, 4))


def averaged(decay, steps=6):
    model = Affine()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    for step in range(steps):
        set_gradients(dict(model.named_parameters()), step)
        optimizer.step()
        model.running_mean.mul_(0.9).add_(0.1 * (step + 1))
        average.update_parameters(model)
    return {k: v.flatten().tolist() for k, v in average.module.state_dict().items()}


def clipped(limit):
    params = parameters()
    set_gradients(params, 0)
    nn.utils.clip_grad_norm_(params.values(), limit)
    return {k: p.grad.flatten().tolist() for k, p in params.items()}


reference = {
    "optimizers": optimizers,
    "schedules": schedule_cases,
    "logits": logits.flatten().tolist(),
    "labels": labels.tolist(),
    "soft": soft.flatten().tolist(),
    "weight": weight.tolist(),
    "losses": losses,
    "averaged": averaged(0.8),
    "clipped": {str(limit): clipped(limit) for limit in (0.25, 100)},
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(reference, separators=(",", ":")).replace('},"', '},\n"') + "\n")
