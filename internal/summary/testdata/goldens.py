"""Writes goldens/ with torchinfo and torchvision: python goldens.py (Python 3.11, torchinfo 1.8.0).

Each goldens/*.txt holds a line of arguments, an empty line, and what torchinfo printed; sums.tsv
holds for every architecture the SHA-256 of what its first line asks for and of repr(model). Everything runs
on PyTorch's meta device: shapes without values, so the largest network takes a second.
"""
import hashlib
import pathlib
import shlex

import torch
import torchvision
from torch import nn
from torchinfo import summary
from torchvision.models.regnet import BlockParams

OUT = pathlib.Path(__file__).parent / "goldens"

COURSE = "--col-names input_size,output_size,num_params,trainable --col-width 20 --row-settings var_names"
ALL = "--col-names kernel_size,input_size,output_size,num_params,params_percent,mult_adds,trainable --col-width 22"
FROZEN = "--freeze features --classes 3 "

FILES = {
    "efficientnet_b0": f"efficientnet_b0 --input-size 32,3,224,224 {COURSE}",
    "efficientnet_b0_frozen": f"efficientnet_b0 {FROZEN}--input-size 32,3,224,224 {COURSE}",
    "efficientnet_b0_depth0": "efficientnet_b0 --input-size 1,3,224,224 --depth 0",
    "efficientnet_b0_depth1": f"efficientnet_b0 {FROZEN}--input-size 32,3,224,224 {ALL} --depth 1",
    "efficientnet_b0_default": "efficientnet_b0 --input-size 1,3,224,224",
    "efficientnet_b0_ascii": f"efficientnet_b0 {FROZEN}--input-size 8,3,224,224 {ALL} --depth 4 --row-settings depth,ascii_only",
    "efficientnet_b0_no_input": "efficientnet_b0 --depth 2 --col-names num_params,params_percent,kernel_size,trainable",
    "efficientnet_b0_no_rows": f"efficientnet_b0 {FROZEN}--row-settings ''",
    "efficientnet_b7": f"efficientnet_b7 --input-size 32,3,600,600 {COURSE}",
    "efficientnet_v2_s": f"efficientnet_v2_s --input-size 32,3,384,384 {COURSE} --depth 4",
    "tinyvgg": f"tinyvgg --classes 3 --input-size 1,3,64,64 {ALL}",
    "tinyvgg_default": "tinyvgg --classes 3 --input-size 1,3,64,64",
    "odd": f"odd --freeze features --input-size 2,3,8,8 {ALL} --row-settings depth,var_names --depth 9",
    "odd_depth2": f"odd --input-size 2,3,8,8 {ALL} --depth 2",
    "odd_hide_recursive": "odd --input-size 2,3,8,8 --row-settings depth,var_names,hide_recursive_layers",
    "odd_no_input": "odd --row-settings depth,var_names",
    "resnet18_hide_recursive": f"resnet18 --input-size 32,3,224,224 {COURSE},hide_recursive_layers",
    "resnet50": f"resnet50 {FROZEN}--input-size 32,3,224,224 {COURSE}",
    "vgg11_bn": f"vgg11_bn {FROZEN}--input-size 32,3,224,224 {ALL}",
    "densenet121": f"densenet121 {FROZEN}--input-size 32,3,224,224 {COURSE} --depth 2",
    "squeezenet1_1": f"squeezenet1_1 {FROZEN}--input-size 32,3,224,224 {ALL}",
    "shufflenet_v2_x0_5": f"shufflenet_v2_x0_5 {FROZEN}--input-size 32,3,224,224 {ALL}",
    "inception_v3": f"inception_v3 {FROZEN}--input-size 32,3,299,299 {COURSE} --depth 2",
    "vit_b_16": f"vit_b_16 {FROZEN}--input-size 32,3,224,224 {ALL} --row-settings depth,var_names --depth 5",
    "convnext_tiny": f"convnext_tiny {FROZEN}--input-size 32,3,224,224 {ALL} --depth 4",
    "swin_t": f"swin_t {FROZEN}--input-size 32,3,224,224 {ALL} --depth 4",
    "maxvit_t": f"maxvit_t {FROZEN}--input-size 32,3,224,224 {COURSE} --depth 5",
}

SUMS = [
    f"MODEL --input-size 32,3,SIZE,SIZE {COURSE}",
    f"MODEL {FROZEN}--input-size 32,3,SIZE,SIZE {COURSE}",
    f"MODEL --input-size 32,3,SIZE,SIZE {ALL} --row-settings depth,var_names --depth 99",
]


class TinyVGG(nn.Module):
    """The baseline that courses train: https://poloclub.github.io/cnn-explainer/."""

    def __init__(self, classes, hidden=10):
        super().__init__()
        self.conv_block_1 = self.block(3, hidden)
        self.conv_block_2 = self.block(hidden, hidden)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(hidden * 13 * 13, classes))

    @staticmethod
    def block(channels, hidden):
        return nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=3, stride=1, padding=0), nn.ReLU(),
            nn.Conv2d(hidden, hidden, kernel_size=3, stride=1, padding=0), nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2))

    def forward(self, x):
        return self.classifier(self.conv_block_2(self.conv_block_1(x)))


class Odd(nn.Module):
    """What no architecture of torchvision does: modules that run twice, out of order or under two
    names, in containers that don't run, beside a parameter of the root and a module unused."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4, 1, 1))
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)), nn.Sequential(nn.Conv2d(4, 4, 1, bias=False))])
        self.act = nn.ReLU()
        self.shared = nn.Sequential(nn.Conv2d(4, 4, (1, 3)), nn.BatchNorm2d(4))
        self.tied = self.shared
        self.unused = nn.Linear(4, 5)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x) + self.token
        x = self.act(self.blocks[0][0](x))
        x = self.shared(self.blocks[1][0](x))
        x = self.blocks[1][0](self.act(self.blocks[0][0](x)))
        return self.head(self.tied(x).mean((2, 3)))


regnet_params = BlockParams.from_init_params


def regnet_params_on_cpu(*args, **kwargs):
    """RegNet computes its widths with tensors, which need values."""
    with torch.device("cpu"):
        return regnet_params(*args, **kwargs)


BlockParams.from_init_params = regnet_params_on_cpu


def build(name, classes=None):
    with torch.device("meta"):
        if name == "tinyvgg":
            return TinyVGG(classes)
        if name == "odd":
            return Odd()
        # As with pretrained weights: GoogLeNet comes without its auxiliary classifiers, Inception
        # with them.
        aux = {"googlenet": {"aux_logits": False, "init_weights": False},
               "inception_v3": {"init_weights": False}}.get(name, {})
        model = torchvision.models.get_model(name, **aux)
        if classes is not None:
            replace_head(model, classes)
        return model


def head_of(model):
    return [n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]


def replace_head(model, classes):
    head = head_of(model)
    old = model.get_submodule(head)
    new = nn.Linear(old.in_features, classes, old.bias is not None) if isinstance(old, nn.Linear) else nn.Conv2d(old.in_channels, classes, 1)
    parent, _, name = head.rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def freeze_features(model):
    """Freezes model.features or, where there is no such module, all but the head."""
    if hasattr(model, "features"):
        model.features.requires_grad_(False)
    else:
        model.requires_grad_(False)
        model.get_submodule(head_of(model)).requires_grad_(True)


def table(line):
    name, *words = shlex.split(line)
    flags = dict(zip(words[::2], words[1::2]))
    words = lambda flag: [w for w in flags[flag].split(",") if w] if flag in flags else None
    numbers = lambda flag: [int(w) for w in words(flag)] if flag in flags else None
    model = build(name, *(numbers("--classes") or []))
    if "--freeze" in flags:
        freeze_features(model)
    size = numbers("--input-size")
    return str(summary(
        model, verbose=0, device="meta",
        input_data=None if size is None else torch.empty(size, device="meta"),
        col_names=words("--col-names"), col_width=int(flags.get("--col-width", 25)),
        depth=int(flags.get("--depth", 3)), row_settings=words("--row-settings")))


def size_of(name):
    crop = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    return getattr(build(name), "image_size", crop)  # ViT-H/14's best weights are for another size


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def main():
    OUT.mkdir(exist_ok=True)
    for name, line in FILES.items():
        (OUT / f"{name}.txt").write_text(f"{line}\n\n{table(line)}\n")
    rows = ["\t".join(["MODEL", "SIZE", *SUMS, "repr"])]
    for name in torchvision.models.list_models(module=torchvision.models):
        size = size_of(name)
        sums = [sha256(table(line.replace("MODEL", name).replace("SIZE", str(size)))) for line in SUMS]
        rows.append("\t".join([name, str(size), *sums, sha256(repr(build(name)))]))
    (OUT / "sums.tsv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
