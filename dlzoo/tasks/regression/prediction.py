"""Prediction of numbers for images by the network of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlzoo.data.storage.image_source import ImageSource
from dlzoo.tasks.prediction import Prediction, Trained


@dataclass(frozen=True)
class NumberPrediction(Prediction):
    """The numbers of one image.

    Args:
        values: name of a target -> its number, in the target's unit.
    """

    values: dict[str, float]

    @property
    def value(self) -> float:
        """The number of the first target."""
        return next(iter(self.values.values()))

    def as_dict(self) -> dict[str, Any]:
        return {"values": self.values}


def predict_numbers(images: Sequence[ImageSource], trained: Trained) -> list[NumberPrediction]:
    """Return the numbers of each image.

    Raises:
        UserError: if a file is not an image.
    """
    names, predictions = trained.record["classes"], []
    mean, deviation = (trained.state[f"standardise.{name}"] for name in ("mean", "deviation"))
    for image in images:
        numbers = trained.outputs(image).double() * deviation + mean
        predictions.append(NumberPrediction(dict(zip(names, numbers.tolist(), strict=True))))
    return predictions
