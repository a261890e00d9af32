"""Plots of predicted numbers."""

import pytest
import torch

from dlzoo.tasks.regression.plots import fitted_curve, predicted_and_true
from tests.plots import check_plot


@pytest.mark.parametrize(("targets", "scale"), [(1, 1.0), (1, 1e6), (2, 1e-4), (6, 1.0)])
def test_predictions_are_drawn_on_equal_axes(targets: int, scale: float) -> None:
    true = torch.randn(50, targets, generator=torch.Generator().manual_seed(0)).double() * scale
    names = [f"the price of a house in a far-away town, number {number}" for number in range(targets)]
    figure = predicted_and_true(true / 3, true, names)
    check_plot(figure)
    for axes in figure.axes[: min(targets, 4)]:
        assert axes.get_xlim() == axes.get_ylim()
    check_plot(fitted_curve(torch.linspace(0, 1, 50), true / 3, true))


def test_equal_and_undefined_predictions_are_drawn() -> None:
    check_plot(predicted_and_true(torch.zeros(3, 1), torch.zeros(3, 1), ["y"]))
    check_plot(predicted_and_true(torch.full((3, 1), torch.inf), torch.zeros(3, 1), ["y"]))
