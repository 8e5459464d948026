"""Writes sklearn.json: scikit-learn's optimum of logistic regression, its cross-validation and its folds,
for a small problem that no plane divides.

    python sklearn_reference.py
"""

import json
import pathlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

warnings.filterwarnings("ignore")
random = np.random.default_rng(1)
labels = np.repeat(np.arange(4), (35, 25, 20, 20))
centres = random.normal(size=(4, 12))
features = (centres[labels] * 0.6 + random.normal(size=(100, 12)) * np.linspace(0.2, 2, 12) + 3).round(3)

fits = []
for c in (0.001, 0.1, 1, 30, 1000):
    fit = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12, max_iter=10000).fit(features, labels)
    fits.append({"c": c, "weight": fit.coef_.tolist(), "bias": fit.intercept_.tolist()})

cv = LogisticRegressionCV(Cs=8, cv=5, scoring="neg_log_loss", solver="newton-cholesky", tol=1e-12).fit(features, labels)
scores = -(list(cv.scores_.values())[0] if isinstance(cv.scores_, dict) else cv.scores_)

uneven = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
fold = np.empty(len(uneven), int)
for i, (_, test) in enumerate(StratifiedKFold(5).split(uneven, uneven)):
    fold[test] = i

path = pathlib.Path(__file__).with_name("sklearn.json")
path.write_text(
    json.dumps(
        {
            "features": features.tolist(),
            "labels": labels.tolist(),
            "fits": fits,
            "strengths": cv.Cs_.tolist(),
            "scores": scores.mean(axis=tuple(range(scores.ndim - 1))).tolist(),
            "chosen": float(np.ravel(cv.C_)[0]),
            "uneven": uneven.tolist(),
            "folds": fold.tolist(),
        },
        separators=(",", ":"),
    ).replace("],[", "],\n[")
    + "\n"
)
