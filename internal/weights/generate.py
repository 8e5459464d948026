"""Writes torchvision.json and imagenet-1k.txt from torchvision 0.29.2's own registry.

    python generate.py

Needs torchvision only; no weights are downloaded.
"""

import json
import math
import pathlib
import re

from torchvision import models

HERE = pathlib.Path(__file__).parent

# torchvision's code is BSD-3-Clause. Where the weights have a licence of their own, their meta links it: so far only
# SWAG's (https://github.com/facebookresearch/SWAG/blob/main/LICENSE, Attribution-NonCommercial 4.0 International).
LICENSES = {None: "BSD-3-Clause", "https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0"}


def write(name, entries):
    """Writes one entry a line, without the fields the source doesn't state."""
    lines = []
    for entry in entries:
        stated = {key: value for key, value in entry.items() if value not in (None, "", False)}
        lines.append(json.dumps(stated, separators=(",", ":"), allow_nan=False))
    (HERE / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def entry(model, weights, default):
    meta, transforms = weights.meta, weights.transforms()
    (crop,), (resize,) = transforms.crop_size, transforms.resize_size
    (metrics,) = meta["_metrics"].values()
    return {
        "model": model,
        "name": str(weights),
        "default": default,
        "sources": [
            {
                "layout": "torchvision",
                "http": {
                    "url": weights.url,
                    # torch.hub's convention: the file name ends with the first digits of the file's sha256.
                    "sha256": re.search(r"-([0-9a-f]{8,})\.pth$", weights.url)[1],
                },
            }
        ],
        "params": meta["num_params"],
        "gflops": meta["_ops"],
        "file_mib": meta["_file_size"],
        # VGG16_Weights.IMAGENET1K_FEATURES has no classifier, hence NaN.
        "acc1": None if math.isnan(metrics["acc@1"]) else metrics["acc@1"],
        "acc5": None if math.isnan(metrics["acc@5"]) else metrics["acc@5"],
        "min_size": meta["min_size"],
        "recipe": meta["recipe"],
        "license": LICENSES[meta.get("license")],
        "transforms": {
            "resize_size": resize,
            "crop_size": crop,
            "interpolation": transforms.interpolation.value,
            "antialias": transforms.antialias,
            "mean": transforms.mean,
            "std": transforms.std,
        },
        "categories": "imagenet-1k" if meta["categories"] else None,
    }


def main():
    entries, categories = [], set()
    for model in models.list_models(module=models):
        enum = models.get_model_weights(model)
        for weights in enum:
            entries.append(entry(model, weights, weights is enum.DEFAULT))
            if weights.meta["categories"]:
                categories.add(tuple(weights.meta["categories"]))
    (imagenet,) = categories
    write("torchvision.json", entries)
    (HERE / "imagenet-1k.txt").write_text("\n".join(imagenet) + "\n")


if __name__ == "__main__":
    main()
