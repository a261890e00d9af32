"""Metrics of numbers that were predicted, each from a whole split."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error


def regression_metrics(predictions: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """predictions (N, D), targets (N, D) -> rmse, mae in the unit of the targets, r2; each (), the mean over the D."""
    predictions, targets = predictions.double(), targets.double()
    count = targets.shape[1]
    return {
        "rmse": mean_squared_error(predictions, targets, squared=False, num_outputs=count).mean(),
        "mae": mean_absolute_error(predictions, targets, num_outputs=count).mean(),
        "r2": _r2(predictions, targets).mean(),
    }


def _r2(predictions: Tensor, targets: Tensor) -> Tensor:
    """The share of each target's variance that is explained: (N, D), (N, D) -> (D,).

    Of a target that is constant it is 1 if the predictions are exact and 0 otherwise, as in scikit-learn.
    """
    # Not by torchmetrics 1.9: it subtracts sums of squares, which cancels far from 0, takes sums below 1e-4 for 0, and
    # refuses a single sample.
    unexplained = (targets - predictions).square().sum(0)
    total = (targets - targets.mean(0)).square().sum(0)
    constant = (targets == targets[0]).all(0)
    return torch.where(constant, (unexplained == 0).double(), 1 - unexplained / total)
