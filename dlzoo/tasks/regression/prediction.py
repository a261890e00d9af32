"""Prediction of numbers for images and rows by the network of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dlzoo.tasks.prediction import Prediction, Trained


@dataclass(frozen=True)
class NumberPrediction(Prediction):
    """The numbers of one image, or one row of a table.

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


def predict_numbers(outputs: Iterable[Tensor], trained: Trained) -> list[NumberPrediction]:
    """Return the numbers of each output (D,) of the network."""
    names, predictions = trained.record["classes"], []
    mean, deviation = (trained.state[f"standardise.{name}"] for name in ("mean", "deviation"))
    for output in outputs:
        numbers = output.double() * deviation + mean
        predictions.append(NumberPrediction(dict(zip(names, numbers.tolist(), strict=True))))
    return predictions
