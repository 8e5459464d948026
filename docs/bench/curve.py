"""From how many photos on fine-tuning pays: what recipes of graft reach with more and more photos to train on.

    python curve.py PHOTOS --graft ./graft     PHOTOS/CLASS/*

The test photos are the same throughout; of files with the same content only one is used. A seed shuffles the rest, and
each size takes the first of them, with every class in proportion. Each run is appended to a file as a line of JSON, and
isn't repeated if it is there already. The output is a Markdown table of the mean test accuracy, and loss in brackets.
The cache of features takes 600 KB a photo where everything trains: see GRAFT_CACHE.
"""

import argparse
import hashlib
import json
import pathlib
import random
import shlex
import statistics
import subprocess
import tempfile

RECIPES = [
    "train",
    "train --solver lbfgs",
    "finetune --unfreeze-last 2 --bn eval",
    "finetune --unfreeze-last 2 --bn eval --epochs 20",
    "finetune --bn eval --lr 0.004",
]

parser = argparse.ArgumentParser()
parser.add_argument("photos", type=pathlib.Path)
parser.add_argument("--graft", type=pathlib.Path, default="graft")
parser.add_argument("--model", default="efficientnet_lite0")
parser.add_argument("--flags", default="", help="of all runs, such as '--threads 1 --weights FILE'")
parser.add_argument("--recipe", action="append", dest="recipes", help="a command and its flags, once for each recipe")
parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 225, 500, 1000, 2000, 3000])
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
parser.add_argument("--test", type=int, default=1000, help="photos to test with")
parser.add_argument("--runs", type=pathlib.Path, default="curve.jsonl")
args = parser.parse_args()


def shuffled(classes, seed):
    """All photos in an order of which any beginning has each class in proportion."""
    order = []
    for photos in classes.values():
        photos = random.Random(seed).sample(photos, len(photos))
        order += [((i + 0.5) / len(photos), photo) for i, photo in enumerate(photos)]
    return [photo for _, photo in sorted(order)]


def by_class(photos):
    classes = {}
    for photo in sorted(photos):
        classes.setdefault(photo.parent.name, []).append(photo)
    return classes


def link(photos, folder):
    for photo in photos:
        path = folder / photo.parent.name / photo.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(photo.resolve())


def measure(train, test, seed, recipe):
    """Runs graft, and returns accuracy and loss on the test photos after the last epoch."""
    with tempfile.TemporaryDirectory() as temp:
        data, out = pathlib.Path(temp, "data"), pathlib.Path(temp, "run")
        link(train, data / "train")
        link(test, data / "test")
        command, *flags = shlex.split(recipe + " " + args.flags)
        subprocess.run([args.graft, command, data, "--model", args.model, "--seed", str(seed), "--cache", "--out", out, *flags],
                       check=True, stdout=subprocess.DEVNULL)
        last = json.loads((out / "history.json").read_text())[-1]
        return {"test_acc": last["test_acc"], "test_loss": last["test_loss"]}


# Files of the same content are left out but for one.
photos = {hashlib.sha256(p.read_bytes()).digest(): p for p in sorted(args.photos.glob("*/*"), reverse=True)}
order = shuffled(by_class(photos.values()), "test")
test, rest = order[:args.test], by_class(order[args.test:])

runs = {}
if args.runs.exists():
    runs = {tuple(key): result for key, result in map(json.loads, args.runs.read_text().splitlines())}
recipes = args.recipes or RECIPES
setting = args.photos.name, args.test, args.model
for seed in args.seeds:
    for size in args.sizes:
        for recipe in recipes:
            key = (*setting, recipe, size, seed)
            if key not in runs:
                runs[key] = measure(shuffled(rest, seed)[:size], test, seed, recipe)
                with args.runs.open("a") as file:
                    print(json.dumps([key, runs[key]]), file=file)

print(f"| photos | {' | '.join(f'`{r}`' for r in recipes)} |")
print("| --- " * (1 + len(recipes)) + "|")
for size in args.sizes:
    cells = []
    for recipe in recipes:
        results = [runs[*setting, recipe, size, seed] for seed in args.seeds]
        accuracy, loss = (statistics.mean(r[name] for r in results) for name in ("test_acc", "test_loss"))
        cells.append(f"{accuracy:.3f} ({loss:.3f})")
    print(f"| {size} | {' | '.join(cells)} |")
