"""How far OpenVINO's bfloat16 moves the logits of EfficientNet-Lite0, for photos in a folder, and how many of them it
puts into another class.

    pip install openvino onnx
    python bf16.py FOLDER
"""

import pathlib
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import lite0
import numpy
import openvino
import torch
from PIL import Image

model = lite0.load().eval()
files = sorted(f for f in pathlib.Path(sys.argv[1]).rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
photos = [lite0.TRANSFORM(Image.open(f).convert("RGB"))[None] for f in files]
logits = {}
with tempfile.TemporaryDirectory() as folder:
    path = folder + "/model.onnx"
    torch.onnx.export(model, photos[0], path, dynamo=False)
    for precision in "f32", "bf16":
        network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        logits[precision] = numpy.concatenate([network(x.numpy())[0] for x in photos])
moved = numpy.abs(logits["f32"] - logits["bf16"])
changed = (logits["f32"].argmax(1) != logits["bf16"].argmax(1)).sum()
print(f"logits move by {moved.max():.3f} at most and {moved.mean():.4f} on average; the best class of {changed} of {len(files)} photos changes")
