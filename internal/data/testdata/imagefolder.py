"""Writes imagefolder.json: a tree of files, and the dataset that torchvision 0.29.2's ImageFolder makes of it.

    python imagefolder.py

In the tree "a -> b" is a symbolic link a to b and "a/" an empty folder; everything else is a file. Names that graft
leaves out on purpose, which begin with a dot and would count as photos or classes here, are not in it.
"""

import json
import os
import pathlib
import tempfile

from torchvision.datasets import ImageFolder

HERE = pathlib.Path(__file__).parent
LONG = "long" * 50

TREE = [
    # Code points, not letters and not UTF-16: Z before a, U+FF5E before U+1F355.
    "data/Zebra/1.jpg",
    "data/apple/1.jpg",
    "data/apple pie/1.jpg",
    "data/apple-pie/1.jpg",
    "data/10/1.jpg",
    "data/9/1.jpg",
    "data/披萨/寿司 1.jpg",
    "data/披萨/牛排.jpg",
    "data/\uff5e/1.jpg",
    "data/\U0001f355/1.jpg",
    "data/\u00e9clair/1.jpg",
    "data/new\nline/a\nb.jpg",
    f"data/{LONG}/{LONG}.jpg",
    # Depth: a folder's own photos first, then folders as whole strings ("a b", "a-b", "a.b" before "a/b").
    "data/deep/z.jpg",
    "data/deep/a/b/1.jpg",
    "data/deep/a/1.jpg",
    "data/deep/a b/1.jpg",
    "data/deep/a-b/1.jpg",
    "data/deep/a.b/1.jpg",
    "data/deep/a0/1.jpg",
    "data/deep/folder.jpg/1.jpg",
    "data/deep/folder.jpg/empty/",
    # What is a photo.
    "data/names/a.jpg",
    "data/names/b.JPG",
    "data/names/c.JpEg",
    "data/names/d.png",
    "data/names/e.ppm",
    "data/names/f.bmp",
    "data/names/g.pgm",
    "data/names/h.tif",
    "data/names/i.TIFF",
    "data/names/j.webp",
    "data/names/k.tar.jpg",
    "data/names/l..jpg",
    "data/names/m .jpg",
    "data/names/-n.jpg",
    "data/names/jpg",
    "data/names/ojpg",
    "data/names/p.jpg.txt",
    "data/names/q.jpg ",
    "data/names/r.jpg\n",
    "data/names/s.jpgx",
    "data/names/t.heic",
    "data/names/u.avif",
    "data/names/v.svg",
    "data/names/Thumbs.db",
    "data/names/.DS_Store",
    "data/names/desktop.ini",
    "data/.DS_Store",
    "data/Thumbs.db",
    "data/stray.jpg",
    "data/stray.txt",
    # Links.
    "elsewhere/1.jpg",
    "elsewhere/deeper/2.jpg",
    "data/linked -> ../elsewhere",
    "data/links/folder -> ../../elsewhere",
    "data/links/file.jpg -> ../../elsewhere/1.jpg",
    "data/links/file.txt -> ../../elsewhere/1.jpg",
    "data/links/broken.jpg -> nowhere.jpg",
    "data/links/broken -> nowhere",
    "data/nowhere -> broken",
]


def build(root):
    for entry in TREE:
        name, _, target = entry.partition(" -> ")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        elif name.endswith("/"):
            path.mkdir()
        else:
            path.write_text(name)


with tempfile.TemporaryDirectory() as temp:
    build(pathlib.Path(temp))
    data = os.path.join(temp, "data")
    dataset = ImageFolder(data)
    samples = [f"{index} {os.path.relpath(path, data)}" for path, index in dataset.samples]

expected = {"tree": TREE, "classes": dataset.classes, "samples": samples}
(HERE / "imagefolder.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
