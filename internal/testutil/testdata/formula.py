"""Values for a network's parameters and input that Go reproduces bit for bit: the twin of
../formula.go, and the script that writes formula.json, some of its numbers.

    python formula.py
"""

import json
import math
import pathlib

import numpy as np
import torch

CHUNK = 1 << 22  # elements at a time, to save memory


def fnv1a(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


def uniform(name, start, stop):
    """Elements [start, stop) of the tensor of that name: multiples of 2^-23 in [-1, 1), from
    splitmix64 seeded with the FNV-1a hash of the name."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def fill(tensor, name, centre, spread):
    flat = tensor.view(-1)
    for start in range(0, flat.numel(), CHUNK):
        stop = min(start + CHUNK, flat.numel())
        flat[start:stop] = torch.from_numpy((centre + spread * uniform(name, start, stop)).astype(np.float32))


def centre_and_spread(name, shape, gain):
    """The rules: matrices and kernels have the variance gain²/fan_in, norms are around 1, the rest
    is small."""
    if name.endswith("running_var"):
        return 1, 0.5
    if name.endswith("weight") and len(shape) > 1:
        return 0, gain * math.sqrt(3 / math.prod(shape[1:]))
    if name.endswith("weight"):
        return 1, 0.2
    return 0, 0.1


def fill_model(model, gain):
    """Fills the parameters and running statistics; other buffers stay as they are."""
    running = ((n, b) for n, b in model.named_buffers() if n.endswith(("running_mean", "running_var")))
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *running]:
            fill(p, name, *centre_and_spread(name, p.shape, gain))


def make_input(shape):
    """Numbers of variance 1."""
    x = torch.empty(shape)
    fill(x, "input", 0, math.sqrt(3))
    return x


def main():
    gain, samples = 1.3, []
    for name, shape in [
        ("features.0.0.weight", (32, 3, 3, 3)),
        ("classifier.6.weight", (3, 1500001)),
        ("features.0.1.weight", (32,)),
        ("features.0.1.bias", (32,)),
        ("features.0.1.running_mean", (32,)),
        ("features.0.1.running_var", (32,)),
        ("class_token", (1, 1, 16)),
        ("input", (2, 3, 5, 7)),
    ]:
        if name == "input":
            x = make_input(shape)
        else:
            x = torch.empty(shape)
            fill(x, name, *centre_and_spread(name, shape, gain))
        at = sorted({i * (x.numel() - 1) // 15 for i in range(16)})
        bits = x.view(-1)[at].view(torch.int32).numpy().view(np.uint32).tolist()
        samples.append({"name": name, "shape": shape, "at": at, "bits": bits})
    lines = ",\n".join(json.dumps(s) for s in samples)
    path = pathlib.Path(__file__).with_name("formula.json")
    path.write_text(f'{{"gain": {gain}, "samples": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
