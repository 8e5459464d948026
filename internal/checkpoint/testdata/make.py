"""Makes the checkpoints beside it, and expected.json with what PyTorch finds in them.

Needs torch and safetensors. Run it in this folder: python make.py
"""

import argparse
import collections
import io
import json
import os
import zipfile

import torch
from safetensors.torch import save_file
from torch import nn

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}

expected = {}


def expect(file, tensors):
    expected[file] = [
        {"name": name, "dtype": DTYPES[t.dtype], "shape": list(t.shape), "values": t.detach().float().flatten().tolist()}
        for name, t in tensors.items()
    ]


def save(name, obj, tensors=None):
    """Saves in both formats that torch.save has had."""
    for kind, new in (("zip", True), ("legacy", False)):
        torch.save(obj, f"{name}_{kind}.pth", _use_new_zipfile_serialization=new)
        if tensors is not None:
            expect(f"{name}_{kind}.pth", tensors)


def ramp(*shape):
    n = torch.Size(shape).numel()
    return (torch.arange(n, dtype=torch.float32) * 0.37 - 2).reshape(shape)


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(collections.OrderedDict(
        conv=nn.Conv2d(1, 2, 3, bias=False), bn=nn.BatchNorm2d(2), flatten=nn.Flatten(), head=nn.Linear(2, 3)))


# The legacy format stores the source of a module's class and the path of its file; a class made like this has neither.
Net = type("Net", (nn.Module,), {"__module__": "__main__"})


def dtypes():
    tensors = collections.OrderedDict((name, (ramp(2, 3) * 9).to(dtype)) for dtype, name in DTYPES.items())
    tensors["bool"] = torch.tensor([True, False, True])
    tensors["scalar"] = torch.tensor(7)
    tensors["empty"] = torch.zeros(0, 3)
    save("dtypes", tensors, tensors)
    save_file(dict(tensors), "dtypes.safetensors")
    expect("dtypes.safetensors", dict(sorted(tensors.items())))
    return tensors


def views():
    base, halves = ramp(4, 6), ramp(2, 3, 3, 2).half()
    tensors = {
        "whole": base,
        "tied": base,
        "transposed": base.t(),
        "block": base[1:3, 2:5],
        "steps": base[::2, 1::3],
        "column": base[:, 3],
        "kernel": halves.permute(0, 3, 1, 2),
        "position_ids": torch.arange(5).expand((1, -1)),
        "no_rows": base[2:2],
        "last": base[3, 5],
    }
    save("views", tensors, tensors)


def checkpoint():
    """A training script's: a DataParallel state dict (with _metadata) beside the optimizer and much else."""
    model = small_model()
    wrapped = nn.DataParallel(model)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 1, 3, 3)).sum().backward()
    optimizer.step()
    save("checkpoint", {
        "epoch": 3, "state_dict": wrapped.state_dict(), "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu"), blob=b"\x00\x01", tags={"a"}),
    }, model.state_dict())
    torch.save({"model_state_dict": {"_orig_mod.module." + k: v for k, v in model.state_dict().items()}}, "compiled.pth")
    expect("compiled.pth", model.state_dict())


def parameters():
    save("parameters", small_model().state_dict(keep_vars=True), small_model().state_dict())


def big_endian(tensors):
    """What a big-endian machine writes: the same archive with the bytes of each element reversed."""
    sizes = {str(i): t.element_size() for i, t in enumerate(tensors.values())}
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    source = zipfile.ZipFile(buffer)
    with zipfile.ZipFile("big_endian.pth", "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            folder, _, name = entry.filename.partition("/")
            if name == "byteorder":
                data = b"big"
            elif name.startswith("data/"):
                size = sizes[name[len("data/"):]]
                data = b"".join(data[i:i + size][::-1] for i in range(0, len(data), size))
            target.writestr(zipfile.ZipInfo(entry.filename), data)
    expect("big_endian.pth", tensors)


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


class Eval:
    def __reduce__(self):
        return eval, ("open('executed', 'w')",)


def reference():
    """What safetensors itself writes for entries that are out of order and have awkward names."""
    save_file({
        "head.weight": ramp(3, 2), "b\"\\/<>&\u00e9\n\x01": ramp(2), "a": torch.tensor(1.5), "head.bias": torch.zeros(0, 4),
    }, "reference.safetensors", {"classes": "pizza, \"steak\" & <sushi>"})
    save_file({"x": ramp(1)}, "plain.safetensors")


if __name__ == "__main__":
    big_endian(dtypes())
    views()
    checkpoint()
    parameters()
    save("model", Net())
    save("in_checkpoint", {"epoch": 1, "model": Net()})
    save("evil", {"state_dict": {"w": ramp(2)}, "payload": Evil()})
    save("eval", Eval())
    save("tensor", ramp(2))
    save("no_tensors", {"epoch": 1, "weights": {"w": ramp(2)}})
    torch.save({"w": ramp(2)}, "protocol4.pth", pickle_protocol=4)
    torch.save({"w": ramp(2).to(torch.complex64)}, "complex.pth")
    reference()
    with open("expected.json", "w") as f:
        f.write("{\n" + ",\n".join(
            json.dumps(file) + ": [\n" + ",\n".join("  " + json.dumps(t) for t in tensors) + "\n]"
            for file, tensors in expected.items()) + "\n}\n")
