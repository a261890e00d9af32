"""`dlzoo.Run`: what a run gives a script, finished or not."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

import dlzoo
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.core.registries import TASKS
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.batch import Normalise
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.prediction import Preprocess, Trained
from dlzoo.tasks.regression.module import Standardise
from tests.docs.workspace import interrupted
from tests.processes import REPOSITORY
from tests.small import CONV, SMALL, TINY, train


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> dlzoo.Run:
    return train(*SMALL, "trainer.ema=0.5", "augment.test=flip", f"run_dir={tmp_path_factory.mktemp('run') / 'c'}")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> dlzoo.Run:
    words = ["data.train=32", "trainer.max_epochs=3", "optimizer.lr=0.01"]
    return train(*TINY, *words, f"run_dir={tmp_path_factory.mktemp('run') / 'd'}")


def digits(run: dlzoo.Run) -> torch.Tensor:
    """The test images of a run, (N, C, H, W) uint8."""
    return Splits.load(run.config["data"]).test.images[:].permute(0, 3, 1, 2)


def test_a_loaded_run_is_what_train_returned(classifier: dlzoo.Run) -> None:
    run = dlzoo.load(str(classifier.dir))
    assert run == classifier
    assert isinstance(classifier, dlzoo.Run)
    assert (run.state, run.config["model"]["name"], run.record["steps"]) == ("finished", "mlp", 15)
    assert run.metrics == classifier.metrics == run.record["metrics"]
    assert "finished" in repr(run)
    assert "test/accuracy" in run._repr_html_()


def test_the_history_has_a_row_for_each_step(classifier: dlzoo.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    columns = classifier.history
    assert columns["step"].tolist() == [5, 10, 15]
    assert columns["step"].dtype == np.int64
    assert columns["epoch"].tolist() == [1, 2, 3]
    assert columns["val/accuracy"][-1] == pytest.approx(classifier.metrics["val/accuracy"])
    assert np.isnan(columns["test/accuracy"][:2]).all()
    assert {len(column) for column in columns.values()} == {3}


def test_the_history_is_a_frame_where_pandas_is(classifier: dlzoo.Run) -> None:
    pandas = pytest.importorskip("pandas")
    assert isinstance(classifier.history, pandas.DataFrame)
    assert classifier.history["step"].tolist() == [5, 10, 15]


def test_the_network_with_its_preprocessing_predicts_what_the_test_did(classifier: dlzoo.Run) -> None:
    network, images = classifier.network(), digits(classifier)
    assert not network.training
    assert {each.device.type for each in network.parameters()} == {"cpu"}
    assert not any("preprocess" in key for key in network.state_dict())
    with torch.no_grad():
        plain, mirrored = network(network.preprocess(images)), network(network.preprocess(images.flip(3)))
    stored = np.load(classifier.dir / "test_predictions.npz")
    expected = ((plain + mirrored) / 2).argmax(1)
    assert (expected.numpy() == stored["prediction"]).all()
    assert [each.name for each in classifier.predict(images)] == [str(each) for each in stored["prediction"].tolist()]
    assert classifier.network() is not network
    assert torch.equal(pickle.loads(pickle.dumps(network)).preprocess(images), network.preprocess(images))


def test_every_form_of_an_image_is_the_same_image(classifier: dlzoo.Run) -> None:
    tensor = digits(classifier)[0]
    array = tensor.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0])
    image.save("digit.png")
    forms: list[Any] = [tensor, array, array[..., 0], image, "digit.png", Path("digit.png")]
    forms += [[tensor], tensor[None], array[None], (image,), iter([image])]
    (expected,) = classifier.predict(tensor)
    for form in forms:
        assert classifier.predict(form) == [expected]
    network = classifier.network()
    assert all(torch.equal(network.preprocess(form), network.preprocess(tensor)) for form in forms[:-1])
    assert len(classifier.predict(["digit.png", tensor], most=2)) == 2
    assert isinstance(expected, dlzoo.ClassPrediction)
    assert (expected.name, expected.probability) == (expected.classes[0].name, expected.classes[0].probability)


def test_a_detector_finds_what_the_command_finds(detector: dlzoo.Run, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 96, 3), np.uint8)).save("wide.png")
    (found,) = detector.predict("wide.png", overrides=["nms.iou=0.3"])
    assert isinstance(found, dlzoo.ObjectPrediction)
    assert main(["predict", f"run={detector.dir}", "wide.png", "nms.iou=0.3", "--out", "drawn", "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    (written,) = json.loads(Path("drawn/predictions.json").read_text())
    assert len(written["objects"]) > 0
    assert written["objects"] == found.as_dict()["objects"]
    assert printed["objects"] == found.above(0.3).as_dict()["objects"]
    assert found.boxes.shape == (len(found.labels), 4)
    assert (found.boxes[:, [0, 2]] <= 96).all()
    assert (found.boxes[:, [1, 3]] <= 48).all()
    assert list(found.scores) == sorted(found.scores, reverse=True)
    network = detector.network()
    assert network.preprocess("wide.png").shape == (1, 3, 64, 64)
    network(network.preprocess("wide.png"))


class Brightness(nn.Module):
    """The mean of the pixels: (N, 1, H, W) -> (N, 1)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).mean(1, keepdim=True)


def test_numbers_are_predicted_in_the_unit_of_the_target() -> None:
    config, record = compose(["augment=none"]), {"classes": ["price"], "image_size": 4, "in_channels": 1}
    normalise = Normalise(torch.tensor([0.5]), torch.tensor([0.25]))
    standardise = Standardise(torch.tensor([[1000.0], [1200.0]]))
    state = {f"standardise.{name}": value for name, value in standardise.state_dict().items()}
    spec = TASKS.build("regress")
    preprocess = Preprocess(spec.image_reader(config, record), config["augment"], normalise)
    trained = Trained(Path("r"), config, record, Brightness(), preprocess, state)
    (found,) = spec.predict([Image.new("L", (9, 6), 204)], trained, 5)
    assert isinstance(found, dlzoo.NumberPrediction)
    assert found.value == found.as_dict()["values"]["price"] == pytest.approx(1100 + 100 * (0.8 - 0.5) / 0.25)
    assert spec.format_prediction({"file": "a.png"} | found.as_dict()) == "price 1220"


class Levels(Dataset[tuple[np.ndarray, float]]):
    """Images of one level each, and ten times the level and 5000."""

    def __init__(self, count: int, seed: int) -> None:
        self.levels = np.random.default_rng(seed).integers(0, 200, count).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, float]:
        return np.full((4, 4, 1), self.levels[index], np.uint8), float(self.levels[index]) * 10 + 5000


def test_a_network_of_the_user_predicts_when_it_is_given_again() -> None:
    words = ["optimizer=adam", "optimizer.lr=0.05", "trainer.max_epochs=15", "data.batch_size=48", "augment=none"]
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    run = dlzoo.train([*words, "run_dir=r"], model=network, data=(Levels(240, 0), Levels(60, 1)), quiet=True)
    images = [np.full((4, 4, 1), level, np.uint8) for level in (10, 100, 190)]
    fresh = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    found = [each.as_dict()["values"].popitem()[1] for each in dlzoo.load("r").predict(images, model=fresh)]
    assert np.allclose(found, [5100, 6000, 6900], atol=60)
    assert torch.equal(fresh[1].weight, network[1].weight)
    with pytest.raises(dlzoo.UserError, match=r"r was started with an object \(model: Sequential\); give it in Py"):
        run.predict(images)
    with pytest.raises(dlzoo.UserError, match=r"\(model: Sequential\), not Linear; give it"):
        run.predict(images, model=nn.Linear(16, 1))


def test_conditions_are_those_of_eval(classifier: dlzoo.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert classifier.evaluate() == {k: v for k, v in classifier.metrics.items() if k.startswith("test/")}
    shifted = classifier.evaluate(["data.test_shift=noise", "data.test_severity=5"])
    assert main(["eval", f"run={classifier.dir}", "data.test_shift=noise", "data.test_severity=5", "--json"]) == 0
    assert shifted == json.loads(capsys.readouterr().out)


def test_data_that_was_moved_is_evaluated_where_it_is(pictures: Path) -> None:
    words = ["data=image_folder", f"data.root={pictures}", "data.batch_size=20", "model=mlp", "trainer.max_epochs=1"]
    run = train(*words, "run_dir=r")
    moved = pictures.rename(pictures.with_name("moved"))
    with pytest.raises(dlzoo.UserError, match="pictures"):
        run.evaluate()
    assert run.evaluate(data=[f"data.root={moved}"])["test/accuracy"] == run.metrics["test/accuracy"]


@pytest.mark.draws
def test_plots_show_themselves() -> None:
    run = train(*SMALL, "trainer.max_epochs=1", "run_dir=r")
    assert list(run.plots) == ["curves", "confusion", "mistakes"]
    assert run.plots["curves"] == Path("r/pictures/curves.png")
    shown = run.plots._repr_html_()
    assert shown.count("data:image/png;base64,") == 3
    assert "http" not in shown
    with pytest.raises(dlzoo.UserError, match=r"r has no plot 'curve'; did you mean 'curves'\?"):
        run.plots["curve"]


USES: dict[str, Callable[[dlzoo.Run], object]] = {
    "metrics": lambda run: run.metrics,
    "network": lambda run: run.network(),
    "predict": lambda run: run.predict(torch.zeros(1, 8, 8, dtype=torch.uint8)),
    "evaluate": lambda run: run.evaluate(),
}


@pytest.mark.parametrize("use", USES)
def test_a_run_that_has_not_begun_says_what_is_missing(use: str) -> None:
    RunDir.create(Path("r"), compose(SMALL))
    run = dlzoo.load("r")
    assert len(run.history["step"]) == len(run.plots) == 0
    assert (run.state, run.config["model"]["name"]) == ("created", "mlp")
    assert "waiting" in repr(run) + run._repr_html_()
    with pytest.raises(dlzoo.UserError, match=r"^r has no (metrics: it has not started|last\.ckpt)"):
        USES[use](run)


def test_an_interrupted_run_works_as_far_as_it_got_and_is_resumed() -> None:
    path, metrics = interrupted(Path("r").absolute())
    run = dlzoo.load(path.path)
    assert run.state == "interrupted"
    assert len(run.history["step"]) >= 1
    with pytest.raises(dlzoo.UserError, match=r"r has no metrics: it was interrupted at step 2 of 6, and run"):
        _ = run.metrics
    assert run.resume(quiet=True).metrics == metrics
    assert run.resume(quiet=True).state == "finished"


def test_a_failed_run_says_why() -> None:
    with pytest.raises(dlzoo.UserError, match="not finite"):
        train("model=mlp", "optimizer.lr=1e30", "data.limit=200", "data.batch_size=40", "run_dir=r")
    with pytest.raises(dlzoo.UserError, match=r"^r has no metrics: it failed.*\(the loss is not finite"):
        _ = dlzoo.load("r").metrics
    assert "not finite" in dlzoo.load("r")._repr_html_()


NOISE = np.zeros((8, 8, 1), np.uint8)
BAD: dict[str, tuple[Any, str]] = {
    "nothing": ([], "images: the list is empty"),
    "a number": (3, "images: 'int' is not an image"),
    "floats": (NOISE / 255, r"images: pixels are integers from 0 to 255 \(uint8\), not float64; multiply by 255"),
    "a float tensor": (torch.zeros(1, 8, 8), r"images: pixels are .*, not float32; multiply by 255"),
    "integers": (NOISE.astype(np.int64), "not int64; convert it to uint8"),
    "channels first": (
        np.zeros((3, 8, 8), np.uint8),
        r"an array of an image has the shape \(height, width, ch",
    ),
    "channels last": (
        torch.zeros(8, 8, 3, dtype=torch.uint8),
        r"a tensor .* \(channels, .*, not \(8, 8, 3\)",
    ),
    "the second": ([NOISE, None], r"images\[1\]: 'NoneType' is not an image"),
    "no pixels": (np.zeros((0, 8, 1), np.uint8), "images: the image has no pixels"),
    "five dimensions": (np.zeros((1, 1, 8, 8, 1), np.uint8), "is not an image, or a list of images"),
    "a missing file": ("no.png", r"^no\.png: cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_one_line(name: str, classifier: dlzoo.Run) -> None:
    images, message = BAD[name]
    for use in (classifier.predict, classifier.network().preprocess):
        with pytest.raises(dlzoo.UserError, match=message):
            use(images)


def test_other_wrong_uses_are_one_line(classifier: dlzoo.Run, detector: dlzoo.Run) -> None:
    with pytest.raises(dlzoo.UserError, match="most must be an integer >= 1, not 0"):
        classifier.predict(NOISE, most=0)
    with pytest.raises(dlzoo.UserError, match=r"nms\.iou=0\.5: .* is not a detector"):
        classifier.predict(NOISE, overrides=["nms.iou=0.5"])
    with pytest.raises(dlzoo.UserError, match=r"nms\.iou"):
        detector.predict(NOISE, overrides=["nms.iou=5"])
    with pytest.raises(dlzoo.UserError, match=r"^nowhere is not a run directory: folder not found"):
        dlzoo.load("nowhere")
    table = train("data=wine", "trainer.max_epochs=1", "run_dir=w")
    with pytest.raises(dlzoo.UserError, match=r"an array of rows has the shape \(rows, columns\), not \(8, 8, 1\)"):
        table.predict(NOISE)
    assert table.network()(torch.zeros(2, 13, 1, 1)).shape == (2, 3)


def test_a_network_needs_no_lightning(detector: dlzoo.Run) -> None:
    train(*CONV, "trainer.max_epochs=1", "run_dir=r")
    code = """
import sys, dlzoo, torch
network = dlzoo.load("r").network()
detector = dlzoo.load(sys.argv[1]).network()
assert network(network.preprocess(torch.zeros(1, 8, 8, dtype=torch.uint8))).shape == (1, 10)
detector(detector.preprocess(torch.zeros(3, 8, 8, dtype=torch.uint8)))
dlzoo.load(sys.argv[1]).predict(torch.zeros(3, 8, 8, dtype=torch.uint8))
print("pytorch_lightning" in sys.modules, "hydra" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, str(detector.dir)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False"]
