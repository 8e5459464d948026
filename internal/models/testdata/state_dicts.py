"""Writes state_dicts.json: a digest of every architecture's state_dict and modules.

    python state_dicts.py              all architectures
    python state_dicts.py --full DIR   also the digested lines, one file an architecture: with
                                       GRAFT_STATE_DICTS=DIR the test shows where they differ
"""

import argparse
import hashlib
import json
import pathlib

from architectures import TIMM, TORCHVISION, build


def tensors(model):
    for name, t in model.state_dict().items():
        yield f"{name} [{' '.join(map(str, t.shape))}] {str(t.dtype).removeprefix('torch.')}\n"


def modules(model):
    for name, m in model.named_modules(remove_duplicate=False):
        if name == "head_drop":  # a function in most of timm's networks
            continue
        own = f"{type(m).__name__}({m.extra_repr()})" if list(m.children()) else repr(m)
        yield f"{name} {own}\n"


def digest(lines):
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", type=pathlib.Path)
    full = parser.parse_args().full
    out = {}
    for name in [*TORCHVISION, *TIMM]:
        model = build(name)
        state = list(tensors(model))
        mods = list(modules(model))
        out[name] = {
            "tensors": len(state),
            "params": sum(p.numel() for p in model.parameters()),
            "state_dict": digest(state),
            "modules": digest(mods),
        }
        if full:
            full.mkdir(parents=True, exist_ok=True)
            (full / f"{name}.state_dict").write_text("".join(state))
            (full / f"{name}.modules").write_text("".join(mods))
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in out.items())
    pathlib.Path(__file__).with_name("state_dicts.json").write_text(f"{{\n{lines}\n}}\n")


main()
