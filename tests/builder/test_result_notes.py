"""Notes at the end of a run: on networks that learned nothing, and on a best epoch that stands out by chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dlzoo.builder.result_notes import lonely_best
from dlzoo.metrics.evaluation import standard_error_of_share
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.detection.metrics.evaluation import DetectionEvaluation
from dlzoo.tasks.regression.metrics import RegressionEvaluation
from tests.small import SMALL, TINY, train

PLATEAU = [0.5, 0.57, 0.63, 0.67, 0.63, 0.63, 0.67, 0.63, 0.67, 0.63]


def other_than(**changes: float) -> list[float]:
    """The plateau with other values at some places."""
    return [changes.get(f"at{place}", value) for place, value in enumerate(PLATEAU)]


@pytest.mark.parametrize(
    ("values", "samples", "lonely"),
    [
        (other_than(at5=0.8), 30, True),
        (other_than(at5=0.7), 30, False),  # one sample better, as in any run
        (other_than(at5=0.8, at8=0.77), 30, False),  # another epoch is as good
        (other_than(at5=0.8), 3000, False),  # the difference is real
        (other_than(at5=0.95), 30, False),  # and so is this one, of 30 samples
        (other_than(at9=0.8), 30, False),  # the last one: it may go on rising
        (other_than(at5=0.8)[:5], 30, False),
        ([0.8, *PLATEAU[1:5]], 30, False),  # too short to call anything a peak
        ([0.2 + 0.08 * place for place in range(10)], 30, False),
        ([*PLATEAU[:5], 0.72, 0.75, 0.72, 0.6, 0.5], 30, False),  # a rise and a fall
        ([0.5, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 30, False),  # it broke after the second epoch
    ],
)
def test_a_lonely_peak_is_told_from_a_usual_run(values: list[float], samples: int, lonely: bool) -> None:
    best = max(range(len(values)), key=lambda place: (values[place], place))
    found = lonely_best(values, best, lambda value: standard_error_of_share(value, samples))
    assert (found is not None) == lonely
    assert found is None or 0.6 < found < 0.7
    assert lonely_best(values, best, lambda value: None) is None


def test_usual_runs_have_no_lonely_peak() -> None:
    """Simulated runs that learn, then keep their weights but for small changes, validated on the same samples."""
    draw, found = np.random.default_rng(0), 0
    for _ in range(300):
        difficulty, epochs = draw.logistic(size=100), np.arange(1, 21)[:, None]
        skill = 1 - 5 * np.exp(-epochs / 4) + 0.2 * draw.normal(size=(20, 1)) + 0.3 * draw.normal(size=(20, 100))
        values = (difficulty < skill).mean(1).tolist()
        best = max(range(20), key=lambda place: (values[place], place))
        found += lonely_best(values, best, lambda value: standard_error_of_share(value, 100)) is not None
    assert found <= 15


@pytest.mark.parametrize(
    ("noise", "samples", "nothing"),
    [(0.5, 100, False), (0.5, 5, False), (9.0, 5, False), (3.0, 100, True), (None, 100, True)],
)
def test_a_regression_that_is_not_better_than_the_mean(noise: float | None, samples: int, nothing: bool) -> None:
    targets = 100 + torch.randn(samples, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets[:, 1] = 7  # a constant target says nothing
    error = torch.randn(samples, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    predictions = targets + noise * error if noise is not None else torch.full_like(targets, 100.0)
    evaluation = RegressionEvaluation(details=True)
    evaluation.update(predictions, targets, range(samples))
    evaluation.count = samples
    reason = evaluation.learned_nothing()
    assert (reason is not None) == nothing
    assert reason is None or f"on {samples} test samples it is not better than the mean of the targets" in reason


def test_standard_errors_are_those_of_repeated_measurements() -> None:
    draw, evaluation = np.random.default_rng(0), RegressionEvaluation()
    targets = draw.normal(size=(4000, 50))
    errors = 0.6 * draw.normal(size=(4000, 50))
    predictions = targets - errors
    r2 = np.array([np.corrcoef(*pair)[0, 1] ** 2 for pair in zip(targets, predictions, strict=True)])
    measured = {"r2": r2, "rmse": np.sqrt((errors**2).mean(1)), "mae": np.abs(errors).mean(1)}
    for metric, values in measured.items():
        assert evaluation.standard_error(metric, values.mean(), 50) == pytest.approx(values.std(), rel=0.15)
    assert evaluation.standard_error("loss", 1.0, 50) is None
    assert standard_error_of_share(0.7, 50) == pytest.approx((draw.binomial(50, 0.7, 4000) / 50).std(), rel=0.1)
    assert standard_error_of_share(1.0, 10) > 0.05


@pytest.mark.parametrize(
    ("score", "shift", "says"),
    [(0.0, 0, "it detects nothing in 2 test images"), (0.9, 40, "its AP50 on 2 test images is 0.0000"), (0.9, 0, None)],
)
def test_a_detector_that_finds_nothing(score: float, shift: float, says: str | None) -> None:
    labels = torch.tensor([[[0.0, 0, 10, 10, 0, 0]], [[5.0, 5, 25, 25, 1, 0]]])
    boxes = labels[..., :4] + shift
    evaluation = DetectionEvaluation(2)
    detections = torch.cat([boxes, torch.full((2, 1, 1), score), labels[..., 4:5]], -1)
    evaluation.update(detections, labels, range(2))
    evaluation.compute()
    reason = evaluation.learned_nothing()
    assert (reason is None) == (says is None)
    assert (says or "") in (reason or "")


def test_a_run_says_that_its_network_learned_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    import dlzoo

    run = dlzoo.train([*SMALL, "optimizer.lr=1e-9", "trainer.select=last"])
    record = RunDir(run.dir).read()
    assert list(record["result_notes"]) == ["learned_nothing"]
    said = capfd.readouterr().out
    assert f"note           {record['result_notes']['learned_nothing']}" in said
    assert said.count(f"(n={record['validated']})") == 3
    assert "learned_nothing" not in (run.dir / "metrics.jsonl").read_text()
    assert RunDir(train(*SMALL, "trainer.max_epochs=15").dir).read()["result_notes"] == {}
    assert "result_notes" not in RunDir(train(*SMALL, "trainer=debug").dir).read()


def test_a_detector_that_was_not_trained_says_so() -> None:
    run = train(*TINY, "model=retinanet", "optimizer.lr=1e-9", "trainer.max_epochs=1", "backbone=resnet18",
                "backbone.width=16", "neck.width=16", "model.depth=1", "model.width=16")  # fmt: skip
    (note,) = json.loads(Path(run.dir, "run.json").read_text())["result_notes"].values()
    assert note.startswith("the network learned nothing: it")
