"""Classifies one photo with the ImageNet weights, as `graft predict --model efficientnet_lite0 PHOTO` does.

    python predict.py PHOTO
"""

import sys

import lite0
import torch
from PIL import Image, ImageOps

model = lite0.load().eval()
photo = lite0.TRANSFORM(ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB"))
with torch.inference_mode():
    logits = model(photo[None])[0]
probability, index = logits.softmax(0).max(0)
lite0.report(script="predict", file=sys.argv[1], index=index.item(), probability=round(probability.item(), 6), logit=round(logits[index].item(), 4))
