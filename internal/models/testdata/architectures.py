"""The architectures that have a counterpart in torchvision or timm, for the scripts beside."""

import unittest.mock
import warnings

import timm
import torch
import torchvision

warnings.filterwarnings("ignore", category=FutureWarning)

TORCHVISION = torchvision.models.list_models(module=torchvision.models)

# The name here: timm's.
TIMM = {
    **{f"efficientnet_lite{i}": f"tf_efficientnet_lite{i}" for i in range(5)},
    **{
        name: name
        for name in (
            "deit_small_patch16_224",
            "deit_tiny_patch16_224",
            "mobilenetv4_conv_medium",
            "mobilenetv4_conv_small",
            "vit_small_patch14_dinov2",
            "vit_small_patch16_224",
            "vit_tiny_patch16_224",
        )
    },
}

# What torchvision's pretrained networks have and its bare constructors haven't.
PRETRAINED = {
    "googlenet": dict(aux_logits=False, transform_input=True, init_weights=False),
    "inception_v3": dict(aux_logits=True, transform_input=True, init_weights=False),
}


# PyTorch's initialisers, which would fill gigabytes for nothing.
INIT = {f: lambda t, *_, **__: t for f in dir(torch.nn.init) if f.endswith("_") and f[0] != "_"}


def build(name):
    """Builds an architecture with 1000 classes; what its parameters hold is undefined."""
    with unittest.mock.patch.multiple(torch.nn.init, **INIT):
        if name in TIMM:
            return timm.create_model(TIMM[name], num_classes=1000)
        return torchvision.models.get_model(name, **PRETRAINED.get(name, {}))
