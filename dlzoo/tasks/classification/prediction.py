"""Classification of images and rows by the network of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from dlzoo.tasks.prediction import Prediction, Trained


@dataclass(frozen=True)
class ClassScore:
    """A class and its probability, 0 to 1."""

    name: str
    probability: float


@dataclass(frozen=True)
class ClassPrediction(Prediction):
    """The classes of one image, or one row of a table.

    Args:
        classes: the most probable classes, the best first.
    """

    classes: tuple[ClassScore, ...]

    @property
    def name(self) -> str:
        """The most probable class."""
        return self.classes[0].name

    @property
    def probability(self) -> float:
        """The probability of the most probable class, 0 to 1."""
        return self.classes[0].probability

    def as_dict(self) -> dict[str, Any]:
        return {"classes": [asdict(each) for each in self.classes]}


def predict_classes(outputs: Iterable[Tensor], trained: Trained, most: int) -> list[ClassPrediction]:
    """Return the `most` probable classes of each output (K,) of the network, the best first."""
    names, predictions = trained.record["classes"], []
    for logits in outputs:
        top = logits.softmax(0).topk(min(most, len(names)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        predictions.append(ClassPrediction(tuple(ClassScore(names[index], value) for index, value in pairs)))
    return predictions
