"""Writes reference.json: outputs of imaginary classifiers, and what scikit-learn makes of them.

Outputs are multiples of 1/8, which float32 and short decimals hold exactly. Calibration is computed as in the code
of Guo et al. (https://github.com/gpleiss/temperature_scaling), from its definition.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import (
    accuracy_score, classification_report, confusion_matrix, log_loss, top_k_accuracy_score,
)

random = np.random.default_rng(0)


def outputs(truth, classes, skill, step=0.125):
    """Outputs that favour the true class; a large step makes ties."""
    logits = random.normal(0, 1.5, (len(truth), classes))
    logits[np.arange(len(truth)), truth] += skill
    return np.round(logits / step) * step


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def calibration(probabilities, truth, bins=15):
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    edges = np.linspace(0, 1, bins + 1)
    table, ece = [], 0
    for low, high in zip(edges, edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        row = [0, 0.0, 0.0]
        if inside.any():
            right = predicted[inside] == truth[inside]
            row = [int(inside.sum()), float(confidence[inside].mean()), float(right.mean())]
            ece += abs(row[1] - row[2]) * inside.mean()
        table.append(row)
    return table, float(ece)


def scores(d):
    return [d["precision"], d["recall"], d["f1-score"], int(d["support"])]


def case(name, truth, classes, skill, **kwargs):
    truth = np.asarray(truth)
    logits = outputs(truth, classes, skill, **kwargs)
    probabilities, predicted = softmax(logits), logits.argmax(1)
    everything, k = list(range(classes)), min(5, classes)
    occurring = classification_report(truth, predicted, output_dict=True, zero_division=0)
    each = classification_report(truth, predicted, labels=everything, output_dict=True, zero_division=0)
    # scikit-learn prefers the last of equal classes in top_k_accuracy_score and argmax the first. Mirrored, it
    # prefers the first too. With as many classes as k, or two, it refuses or takes one score a sample.
    top = 1.0
    if classes > k:
        top = top_k_accuracy_score(classes - 1 - truth, logits[:, ::-1], k=k, labels=everything)
    table, ece = calibration(probabilities, truth)
    return {
        "name": name, "classes": classes, "truth": truth.tolist(), "logits": logits.tolist(),
        "accuracy": accuracy_score(truth, predicted), "top_k": k, "top_k_accuracy": top,
        "loss": log_loss(truth, probabilities, labels=everything),
        "per_class": [scores(each[str(i)]) for i in everything],
        "macro": scores(occurring["macro avg"]), "weighted": scores(occurring["weighted avg"]),
        "confusion": confusion_matrix(truth, predicted, labels=everything).tolist(),
        "ece": ece, "calibration": table,
    }


cases = [
    case("balanced", np.arange(60) % 3, 3, 2),
    case("skewed", random.choice(4, 80, p=[0.85, 0.1, 0.03, 0.02]), 4, 1),
    case("absent classes", random.choice([1, 4, 8], 30), 12, 4),
    case("ties", random.choice(8, 60), 8, 1, step=2.0),
    case("nothing known", np.arange(40) % 20, 20, 0),
    case("certain", np.arange(24) % 6, 6, 60),
    case("two classes", np.arange(30) % 2, 2, 1),
    case("one sample", [2], 3, 0),
]
out = {"scikit-learn": sklearn.__version__, "cases": cases}
Path(__file__).with_name("reference.json").write_text(json.dumps(out, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
