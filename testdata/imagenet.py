"""Writes imagenet.json: what torchvision's networks make of ImageNet sample photos, for real_test.go.

    python imagenet.py SHARED

SHARED holds weights/{mobilenet_v2,squeezenet1_0}.safetensors, with torchvision's names, and
data/imagenet_samples/*.JPEG. For each network and photo the file has the five classes with the highest
logits and these logits; and all logits, rounded, of the input that internal/testutil/testdata/formula.py
computes, for which no photo has to be decoded. Photos are turned as their EXIF orientation says.
Made with torch 2.15, torchvision 0.29 and Pillow 13.
"""

import json
import pathlib
import sys

import torch
import torchvision
from PIL import Image, ImageOps
from safetensors.torch import load_file

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent / "internal" / "testutil" / "testdata"))
import formula  # noqa: E402

torch.set_num_threads(1)
shared = pathlib.Path(sys.argv[1])
networks = {
    "mobilenet_v2.IMAGENET1K_V1": torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1,
    "squeezenet1_0.IMAGENET1K_V1": torchvision.models.SqueezeNet1_0_Weights.IMAGENET1K_V1,
}


def numbers(tensor):
    return [float(f"{v:.6g}") for v in tensor.tolist()]


result = {}
for name, weights in networks.items():
    arch = name.split(".")[0]
    model = torchvision.models.get_model(arch)
    model.load_state_dict(load_file(shared / "weights" / f"{arch}.safetensors"))
    model.eval()
    prepare = weights.transforms()
    photos = {}
    with torch.inference_mode():
        for path in sorted((shared / "data" / "imagenet_samples").glob("*.JPEG")):
            image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            logits, classes = model(prepare(image)[None])[0].topk(5)
            photos[path.name] = {"classes": classes.tolist(), "logits": numbers(logits)}
        result[name] = {"photos": photos, "formula": numbers(model(formula.make_input((1, 3, 224, 224)))[0])}

with open(here / "imagenet.json", "w") as file:
    json.dump(result, file, separators=(",", ":"))
    file.write("\n")
