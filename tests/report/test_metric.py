"""The metric of a report: its plain name, and its default margin."""

from __future__ import annotations

import pytest

from dlzoo.core import index
from dlzoo.report.content import Metric
from dlzoo.report.metric import margin_of, name_of
from dlzoo.runs.sweep_file import SweepFile


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("test/miou", "test mean IoU"),
        ("val/map50_voc10", "validation mAP50 (VOC 2010)"),
        ("train/loss", "training loss"),
        ("test/own_score\n", "test own score"),
    ],
)
def test_metrics_have_plain_names(key: str, name: str) -> None:
    assert name_of(key) == name


def test_fractions_of_every_task_have_a_default_margin_and_losses_and_numbers_have_none() -> None:
    margins = {name: margin_of(None, SweepFile(), Metric(f"test/{name}", name, True)) for name in index.metrics()}
    without = {name for name, margin in margins.items() if margin is None}
    assert without == {"loss", "calibration_error", "rmse", "mae", "r2"} | {
        name for name in margins if name.startswith("errors_")
    }
    assert set(margins.values()) == {None, 0.01}
    assert margin_of(0.5, SweepFile(), Metric("test/miou", "", True)) == 0.5
    assert margin_of(None, SweepFile(), Metric("test/of_somebody_else", "", True)) is None
