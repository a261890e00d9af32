"""Regression metrics, accumulated over the batches of a split."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlzoo.metrics.accumulators import Moments, Sum, Table
from dlzoo.metrics.evaluation import Evaluation, add_loss, loss_of_split

#: Samples that plots show; kept in double precision.
_SHOWN = 5_000
#: Fewest samples by which a standard error of r2 is estimated.
_FEWEST = 20
#: Standard errors above 0 that r2 of a prediction without skill exceeds in 2.5 % of cases.
_LIMIT = 1.96


class RegressionEvaluation(Evaluation):
    """Loss, rmse and mae in the unit of the targets, and r2, each the mean over the D targets.

    Args:
        loss_fn: (standardised predictions, standardised targets) -> the batch's loss.
        details: whether to keep predictions.
    """

    def __init__(self, loss_fn: nn.Module | None = None, *, details: bool = False) -> None:
        super().__init__()
        self.loss_fn, self.details = loss_fn, details
        self.losses, self.squares, self.distances = Sum(), Sum(), Sum()
        self.targets, self.table, self.shown = Moments(), Table(), Table(_SHOWN)

    def update(self, predictions: Tensor, targets: Tensor, indices: range = range(0)) -> None:
        """Add a batch: predictions (n, D) and targets (n, D) of the samples `indices`, in the targets' unit."""
        errors = predictions.double() - targets.double()
        self.squares.update(errors.square().sum(0))
        self.distances.update(errors.abs().sum(0))
        self.targets.update(targets)
        if self.details:
            self.table.update(indices, label=targets.float(), prediction=predictions.float())
            self.shown.update(indices, label=targets, prediction=predictions)

    def add_loss(self, predictions: Tensor, targets: Tensor) -> None:
        """Add the loss of a batch of standardised predictions (n, D) and targets (n, D)."""
        assert self.loss_fn is not None
        add_loss(self.losses, self.loss_fn, predictions, targets)

    def compute(self) -> dict[str, float]:
        squares, distances, moments = self.squares.total(), self.distances.total(), self.targets.cpu()
        metrics = {} if self.loss_fn is None else {"loss": loss_of_split(self.losses, self.loss_fn, self.count)}
        return metrics | {
            "rmse": float((squares / self.count).sqrt().mean()),
            "mae": float((distances / self.count).mean()),
            "r2": float(_r2(squares, moments).mean()),
        }

    def is_score_defined(self) -> bool:
        """Return whether a target varies: r2 of a constant one is 0 or 1, whatever the error."""
        return not torch.equal(self.targets.low, self.targets.high)

    def learned_nothing(self) -> str | None:
        """Return why no target is predicted better than by its mean, one-sided at 2.5 %; see `_noise_of_r2`."""
        columns = self.table.columns()
        if self.count < _FEWEST or not columns or not self.is_score_defined():
            return None
        r2 = _r2(self.squares.total(), self.targets.cpu())
        targets = columns["label"].double()
        varies = self.targets.cpu().low != self.targets.cpu().high
        noise = _noise_of_r2(targets - columns["prediction"].double(), targets)
        could_tell = varies & (_LIMIT * _noise_of_r2(torch.zeros_like(targets), targets) < 1)
        if not could_tell.any() or (could_tell & ~(r2 <= _LIMIT * noise)).any():
            return None
        return (
            f"on {self.count:,} test samples it is not better than the mean of the targets: r2 is"
            f" {float(r2[varies].mean()):.3f}, with a standard error of {float(noise[varies].mean()):.2g}"
        )

    def standard_error(self, metric: str, value: float, samples: int) -> float | None:
        """Return that of r2 (Olkin and Finn 1995), and of rmse and mae for normal errors; None for the loss."""
        if metric == "r2":
            return 2 * sqrt(max(value, 0.0)) * (1 - value) / sqrt(samples)
        relative = {"rmse": sqrt(1 / 2), "mae": sqrt(pi / 2 - 1)}.get(metric)
        return None if relative is None else relative * value / sqrt(samples)

    def predictions(self) -> dict[str, NDArray[Any]]:
        return self.table.arrays()


def regression_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return rmse, mae and r2 of predictions (N, D) and targets (N, D), each the mean over the D targets."""
    evaluation = RegressionEvaluation()
    evaluation.update(predictions, targets)
    evaluation.count = len(targets)
    return evaluation.compute()


def _noise_of_r2(errors: Tensor, targets: Tensor) -> Tensor:
    """Return the standard error of r2 (D,) from errors (N, D) and targets (N, D): NaN for a constant target.

    r2 is the mean over the samples of (squared distance from the mean - squared error) / variance, and its standard
    error that of this mean.
    """
    squares = (targets - targets.mean(0)).square()
    return ((squares - errors.square()) / squares.mean(0)).std(0) / sqrt(len(targets))


def _r2(unexplained: Tensor, targets: Moments) -> Tensor:
    """Return the explained share of each target's variance (D,), from sums of squared errors (D,).

    For a constant target it is 1 if the predictions are exact and 0 otherwise, as in scikit-learn.
    """
    # torchmetrics 1.9 is not used: it subtracts sums of squares, which cancels far from 0, treats sums below 1e-4 as 0,
    # and refuses a single sample.
    constant = targets.low == targets.high
    return torch.where(constant, (unexplained == 0).double(), 1 - unexplained / targets.deviations)
