"""Plots that tasks share: curves by epoch, grids of images, the range test and the trials of a search."""

import numpy as np
import pytest
import torch

from dlzoo.core import index
from dlzoo.metrics.plots import curves, image_grid, lr_range, shorten, train_curve, trials
from tests.plots import check_plot


def records(steps_per_epoch: int, steps: int, log_every: int = 50) -> list[dict[str, float]]:
    """The log of a run: windows of `log_every` steps that end with the epoch, and validations after each epoch."""
    logged = []
    for step in range(1, steps + 1):
        if step % log_every and step % steps_per_epoch:
            continue
        record = {"step": step, "epoch": round(step / steps_per_epoch, 4), "lr": 0.1, "train/loss": 2 / step}
        record["train/accuracy"] = 1 - 1 / step
        if step % steps_per_epoch == 0:
            record |= {"val/loss": 2.1 / step, "val/accuracy": 0.9, "val/map50_voc10": 0.5}
        logged.append(record)
    return logged


@pytest.mark.parametrize(
    ("metric", "plain"),
    [
        ("accuracy", "accuracy (fraction of samples)"),
        ("mae", "mean absolute error (unit of the target)"),
        ("map50_voc10", "mAP50 (VOC 2010)"),
        ("own_score", "own score"),
    ],
)
def test_curves_have_plain_names_and_the_size_of_the_validation_split(metric: str, plain: str) -> None:
    logged = [record | {"val/own_score": 1.0, "val/mae": 1.0} for record in records(703, 2812)]
    texts = check_plot(curves(logged, "a run", metric, validation=range(5000)))
    assert {plain, "loss", "learning rate", "epoch", "training", "validation (n = 5,000)"} <= set(texts)


@pytest.mark.parametrize("epochs", [0.3, 1, 2, 2.4, 6, 7, 13, 97, 200, 1001])
def test_the_last_epoch_is_labelled(epochs: float) -> None:
    check_plot(curves(records(10, round(10 * epochs), log_every=3), "a run", validation=range(20)))


@pytest.mark.parametrize("logged", [[], [{"step": 1, "epoch": 1.0, "train/loss": None, "val/accuracy": 0.5}]])
def test_curves_of_a_run_without_numbers_are_drawn(logged: list[dict]) -> None:
    check_plot(curves(logged, "a run"))


def test_a_high_validation_loss_is_named_where_it_is_cut_off() -> None:
    logged = records(10, 30)
    logged[0]["val/loss"] = 812.0
    figure = curves(logged, "a run")
    assert "loss (validation up to 812)" in check_plot(figure)
    assert figure.axes[0].get_ylim()[1] < 10


def test_windows_cut_short_by_the_end_of_an_epoch_are_merged_by_their_steps() -> None:
    widths = [(50, 0.5), (90, 0.9), (100, 1.0), (110, 1.1), (150, 1.5), (200, 2.0)]
    logged = [{"step": step, "epoch": epoch, "loss": float(step)} for step, epoch in widths]
    # 90 ends a window of 40 steps and 100 one of 10; 110 begins the second epoch with 10 steps before one of 40.
    expected = [(0.5, 50.0), (1.0, (90 * 40 + 100 * 10) / 50), (1.5, (110 * 10 + 150 * 40) / 50), (2.0, 200.0)]
    assert np.array(train_curve(logged, "loss")) == pytest.approx(np.array(expected))


def test_merged_windows_keep_the_mean_over_all_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    per_step = torch.rand(4 * 703 + 1, generator=generator).double()
    logged, before = [], 0
    for record in records(703, 4 * 703):
        logged.append(record | {"train/loss": float(per_step[before : record["step"]].mean())})
        before = record["step"]
    merged = train_curve(logged, "train/loss")
    assert len(merged) < len(logged)
    assert [epoch for epoch, _ in merged if epoch == round(epoch)] == [1, 2, 3, 4]
    starts = [0.0, *(epoch for epoch, _ in merged[:-1])]
    total = sum(value * (epoch - start) for start, (epoch, value) in zip(starts, merged, strict=True))
    assert total * 703 == pytest.approx(float(per_step[: 4 * 703].sum()), rel=1e-3)
    assert min(epoch - start for start, (epoch, _) in zip(starts, merged, strict=True)) > 0.5 * 50 / 703


@pytest.mark.parametrize(("count", "columns"), [(0, 1), (1, 1), (2, 2), (6, 6), (7, 4), (8, 4), (13, 5), (24, 6)])
def test_a_grid_has_no_empty_column_and_its_words_fit(count: int, columns: int) -> None:
    images = torch.zeros(count, 4, 4, 3, dtype=torch.uint8)
    names = [f"{number} " + "a long name of a class " * 3 + f"\n{number}" for number in range(count)]
    figure = image_grid(images, names, "a title that is longer than the grid of one image is wide", columns=6)
    check_plot(figure)
    places = {image.get_extent()[0] for image in figure.axes[0].images}
    assert len(places) == (columns if count else 0)


def test_names_lose_their_middle() -> None:
    assert shorten("a name", 6) == "a name"
    assert shorten("category number 012", 11) == "categ…r 012"
    assert shorten(" two\nlines ", 9) == "two lines"


@pytest.mark.parametrize("suggestion", [1e-6, 1e-3, 10.0])
def test_the_suggested_rate_is_written_inside_the_plot(suggestion: float) -> None:
    rates = [10 ** (-6 + 7 * step / 99) for step in range(100)]
    check_plot(lr_range(rates, [1 + abs(step - 60) / 60 for step in range(100)], suggestion, "resnet20, sgd, batch 64"))


def test_trials_are_drawn() -> None:
    settings = {"optimizer.lr": [0.001, 0.1, 1.0], "optimizer": ["sgd", "adam", "sgd"]}
    check_plot(trials([0.1, None, 0.9], settings, "a search"))


def test_every_metric_has_a_plain_name() -> None:
    metrics = index.metrics()
    assert all("_" not in metric.plain_name for metric in metrics.values())
    assert metrics["errors_missed"].title == "errors missed (per image)"
