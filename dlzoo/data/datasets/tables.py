"""Tables without a download: three published ones from scikit-learn, and a synthetic curve."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from dlzoo.core.registries import DATASETS
from dlzoo.core.rng import Streams
from dlzoo.core.schema import Bounds, Fraction, NonNegative, Seed
from dlzoo.data.settings import cut
from dlzoo.data.split import Split
from dlzoo.data.table_set import Column, Degree, Scale, TableSet

#: Validation and test samples of a synthetic set.
_VAL, _TEST = 200, 1000
#: Offset of an outlier; the curve itself is between -1 and 1.
_FAR = 5.0


@DATASETS.register(
    "diabetes", source="Efron et al. 2004, Least angle regression, as in scikit-learn",
    table=True, tasks=("regress",), model="mlp", loss="mse",
)  # fmt: skip
def diabetes(*, scale: Scale = "standard", degree: Degree = 1) -> TableSet:
    """442 patients x 10 measurements -> progression after a year, 25 to 346; a fixed fifth is the test split."""
    return _load_published(load_diabetes(scaled=False), scale, degree, targets=("progression",))


@DATASETS.register("wine", source="UCI Wine, as in scikit-learn", table=True, tasks=("classify",), model="mlp")
def wine(*, scale: Scale = "standard", degree: Degree = 1) -> TableSet:
    """178 wines x 13 chemical measurements -> 3 growers; a fixed fifth of each class is the test split."""
    return _load_published(load_wine(), scale, degree)


@DATASETS.register(
    "breast_cancer", source="UCI Breast Cancer Wisconsin (Diagnostic), as in scikit-learn",
    table=True, tasks=("classify",), model="mlp",
)  # fmt: skip
def breast_cancer(*, scale: Scale = "standard", degree: Degree = 1) -> TableSet:
    """569 biopsies x 30 measurements of cell nuclei -> malignant or benign; a fixed fifth of each is the test split."""
    return _load_published(load_breast_cancer(), scale, degree)


@DATASETS.register(
    "sine", source="Bishop 2006, section 1.1, over two periods",
    table=True, tasks=("regress",), model="mlp", loss="mse",
)  # fmt: skip
def sine(
    *,
    samples: Annotated[int, Bounds(minimum=1, maximum=10_000_000)] = 200,
    noise: NonNegative = 0.3,
    outliers: Fraction = 0.0,
    draw: Seed = 0,
    scale: Scale = "standard",
    degree: Degree = 1,
) -> TableSet:
    """`samples` x 1 number x, uniform on -1 to 1 -> y = sin(2 pi x) + `noise` * N(0, 1); 200 validation, 1000 test.

    The features are x, x^2, ..., x^`degree`. `outliers` is the fraction of training targets that are 5 too high. Each
    value of `draw` gives another set of the same kind; without outliers, a smaller set is the start of a larger one.
    """
    streams = Streams(draw)
    train, val, test = (
        _noisy_sine(streams, part, count, noise) for part, count in (("train", samples), ("val", _VAL), ("test", _TEST))
    )
    far = streams.permutation(samples, "outliers")[: round(outliers * samples)]
    train.labels[far] += _FAR
    return TableSet(train, test, (Column("x"),), ("y",), "regress", val, scale=scale, degree=degree)


def _noisy_sine(streams: Streams, part: str, count: int, noise: float) -> Split:
    numbers = streams.draw(torch.arange(count), "sine", part)
    x = 2 * numbers.uniform("x").double() - 1
    y = (2 * math.pi * x).sin() + noise * numbers.normal("noise")
    return Split(x.view(-1, 1, 1, 1), y.unsqueeze(1))


def _load_published(bunch: Any, scale: Scale, degree: int, targets: tuple[str, ...] = ()) -> TableSet:
    """Return a table of scikit-learn, with the numbers `targets`, or else classes; a fixed fifth is the test split."""
    rows, labels = torch.from_numpy(bunch.data), torch.from_numpy(bunch.target)
    labels = labels.double().unsqueeze(1) if targets else labels.long()
    train, test = cut(Split(rows.view(len(rows), 1, 1, -1), labels), 0.2, seed=0, by_class=not targets)
    columns = tuple(Column(str(name)) for name in bunch.feature_names)
    classes, task = (targets, "regress") if targets else (tuple(map(str, bunch.target_names)), "classify")
    return TableSet(train, test, columns, classes, task, scale=scale, degree=degree)
