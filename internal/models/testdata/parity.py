"""Writes parity.json: what PyTorch computes with the weights and the input of
../../testutil/testdata/formula.py, so that Go can compare without a file of weights.

    python parity.py            all architectures
    python parity.py NAME ...   these alone; the others' entries stay

Each entry holds, for a batch of two images of that size (rows, columns) and the formula's gain:

    logits, features              the first 32 of each image, in float64. The features are what the
                                  head reads, averaged over rows and columns where it is a convolution
    logits_norm, features_norm    the Euclidean norm of all of them, for each image
    logits_error, features_error  how far PyTorch's own float32 is off, relative to the norm
"""

import json
import pathlib
import sys

import torch
from architectures import TIMM, TORCHVISION, build

sys.path.append(str(pathlib.Path(__file__).parents[2] / "testutil/testdata"))
from formula import fill_model, make_input

PATH = pathlib.Path(__file__).with_name("parity.json")

# Rows and columns of the image: the first prefix that fits. Rows and columns differ, and no stage
# halves them evenly, where the network allows it.
SIZES = {
    "alexnet": (96, 104),
    "inception": (96, 104),
    "maxvit": (224, 224),
    "vit_small_patch14": (518, 518),
    "vit": (224, 224),
    "deit": (224, 224),
    "": (72, 80),
}

GAINS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.6)


def run(model, x):
    """Returns the logits and the features."""
    head = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))][-1]
    seen = []
    hook = head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        logits = model(x)
    hook.remove()
    features = seen[0]
    if features.dim() == 4:
        features = features.mean((2, 3))
    return logits.double(), features.double()


def relative(a, b):
    return float((a - b).norm() / b.norm())


def entry(model, size, gain):
    x = make_input((2, 3, *size))
    fill_model(model.float().eval(), gain)
    single = run(model, x)
    double = run(model.double(), x.double())
    out = {"size": size, "gain": gain}
    for name, s, d in zip(("logits", "features"), single, double):
        out[name] = [[float(f"{v:.8g}") for v in row[:32]] for row in d.tolist()]
        out[name + "_norm"] = [float(f"{row.norm():.8g}") for row in d]
        out[name + "_error"] = float(f"{relative(s, d):.2g}")
    return out, relative(double[1][0], double[1][1])


def reference(name):
    """Takes the first gain with which the features of the two images differ, or else the one with
    which they differ most, among those that don't make rounding errors or the features large."""
    model = build(name)
    size = next(size for prefix, size in SIZES.items() if name.startswith(prefix))
    best, kept = None, 0
    for gain in GAINS:
        out, differ = entry(model, size, gain)
        if out["features_error"] < 2e-6 and max(out["features_norm"]) < 1e4 and differ > kept:
            best, kept = out, differ
        if kept > 0.03:
            break
    print(f"{name}: gain {best['gain']}, images differ by {kept:.2g}, float32 is off by {best['logits_error']}", flush=True)
    return best


def main():
    torch.set_num_threads(1)
    names = sys.argv[1:] or [*TORCHVISION, *TIMM]
    for name in names:
        new = reference(name)
        entries = json.loads(PATH.read_text()) if PATH.exists() else {}
        entries[name] = new
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(entries.items()))
        PATH.write_text(f"{{\n{lines}\n}}\n")


main()
