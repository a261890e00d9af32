"""Networks and data sets that are given as objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

import dlzoo
from dlzoo.cli import main
from dlzoo.core.given import Given, giving
from dlzoo.core.registries import DATASETS
from dlzoo.data.loader import TrainLoader
from dlzoo.runs.run_dir import RunDir
from tests.small import last_of_each, logged, same, train, weights

FAST = ["trainer=cpu", "trainer.threads=1", "trainer.max_epochs=2", "data.batch_size=16", "trainer.checkpoint_every=2"]


class Coloured(Dataset):
    """Images (3, 8, 8) of three classes, which all three generators change; `fails_at` is a read that raises."""

    def __init__(self, count: int, seed: int, convert: Callable[[Tensor], Any] = lambda pixels: pixels) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(3, (count,), generator=generator).tolist()
        pixels = torch.randint(0, 120, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
        for image, label in zip(pixels, self.labels, strict=True):
            image[label] += 100
        self.pixels, self.convert, self.reads = pixels, convert, 0
        self.fails_at: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.reads += 1
        if self.reads == self.fails_at:
            raise OSError("the disk is gone")
        image = self.pixels[index].clone()
        image = image.roll(random.randrange(3), 1).roll(int(np.random.randint(3)), 2)
        image[:, int(torch.randint(8, ()))] = 0
        return self.convert(image), self.labels[index]


class Net(nn.Module):
    """A network with a dropout, a norm, and attributes that mean something in networks of dlzoo."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))
        self.normalisation, self.notes = nn.Identity(), 5
        self.fc = nn.Linear(8, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(self.normalisation(images)).mean((2, 3)))


class Other(Net):
    """A network of another class."""


def net(outputs: int = 3, seed: int = 0) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net(outputs)


def pair() -> tuple[Coloured, Coloured]:
    return Coloured(64, 0), Coloured(24, 1)


def given(*words: str, **objects: Any) -> Any:
    return dlzoo.train(last_of_each([*FAST, *words]), quiet=True, **objects)


@pytest.mark.draws
def test_a_run_of_objects_leaves_everything_behind(capsys: pytest.CaptureFixture[str]) -> None:
    network, before = net(), _states()
    run = dlzoo.train([*FAST, "run_dir=run"], model=network, data=pair())
    record = RunDir(run.dir).read()
    assert run.metrics["test/accuracy"] > 0.5
    assert record["state"] == "finished"
    assert record["config"]["model"] == {"name": "given", "pretrained": False, "class_name": "Net"}
    assert record["config"]["data"]["class_name"] == "Coloured"
    assert record["data_sizes"] == {"train": 57, "val": 7, "test": 24}
    assert "cannot rebuild it" in "".join(record["remarks"])
    assert set(record["pictures"]) == {"curves", "confusion", "mistakes"}
    printed = capsys.readouterr().out
    assert "model          Net" in printed
    assert "data           Coloured, 3 x 8 x 8, 3 classes" in printed
    assert "dlzoo eval" not in printed
    assert _states() == before
    trained = weights(run)
    assert not network.training
    assert all(torch.equal(value, trained[f"network.given.{key}"]) for key, value in network.state_dict().items())


def test_comparisons_name_the_classes(capsys: pytest.CaptureFixture[str]) -> None:
    data = pair()
    for seed in (0, 1):
        given(f"seed={seed}", f"run_dir=runs/net{seed}", model=net(seed=seed), data=data)
        given(f"seed={seed}", f"run_dir=runs/other{seed}", model=Other(), data=data)
    for words in (["runs", "runs"], ["diff", "runs/net0", "runs/other0"], ["report", "runs"]):
        assert main(words) == 0
    assert "model.class_name  Net -> Other" in capsys.readouterr().out
    report = Path("runs/report/report.md").read_text()
    assert "| model.class_name | test accuracy |" in report
    assert "# in Python, for seeds 0, 1: dlzoo.train([" in report
    assert "model=<Other>, data=<Coloured>)" in report


def _states() -> tuple[Any, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


@pytest.mark.parametrize("words", [[], ["trainer.ema=0.5", "augment=flip_crop", "data.sampler=bootstrap"]])
@pytest.mark.parametrize("before_the_end", [20, 70])
def test_a_resumed_run_of_objects_equals_an_uninterrupted_one(before_the_end: int, words: list[str]) -> None:
    undisturbed, data = pair(), pair()
    whole = given("run_dir=whole", *words, model=net(), data=undisturbed)
    data[0].fails_at = undisturbed[0].reads - before_the_end
    with pytest.raises(dlzoo.UserError, match=r"item \d+ of the training data: __getitem__ raised OSError: the disk"):
        given("run_dir=broken", *words, model=net(), data=data)
    other = net(seed=1)  # its weights are those of the checkpoint
    resumed = dlzoo.train(["resume=broken"], model=other, data=pair(), quiet=True)
    assert same(weights(whole), weights(resumed))
    assert logged(whole.dir) == logged(resumed.dir)
    assert whole.metrics == resumed.metrics


def test_every_model_sees_the_same_images_and_epochs_differ() -> None:
    seen: dict[str, list[Tensor]] = {}
    for name, words in {"one": ["seed=1"], "again": ["seed=1", "model=mlp"], "other": ["seed=2"]}.items():
        seen[name] = _training_images(words)
    assert all(torch.equal(one, again) for one, again in zip(seen["one"], seen["again"], strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(seen["one"], seen["other"], strict=True))
    assert not torch.equal(seen["one"][0], seen["one"][3])  # the next epoch


def _training_images(words: list[str]) -> list[Tensor]:
    batches: list[Tensor] = []
    original = TrainLoader.batches

    def spy(self: TrainLoader, step: int) -> Any:
        for batch in original(self, step):
            batches.append(batch.images.clone())
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainLoader, "batches", spy)
        objects = {} if "model=mlp" in words else {"model": net()}
        given(*words, data=pair(), **objects)
    return batches


def test_a_given_data_set_without_transforms_is_our_own_pipeline() -> None:
    words = ["model=lenet", "augment=flip_crop", "data.val_fraction=0.2", "data.limit=160"]
    own = train(*FAST, "run_dir=own", *words)
    images = DATASETS.build("digits")
    sets = [TensorDataset(part.images.permute(0, 3, 1, 2), part.labels) for part in (images.train, images.test)]
    run = given("run_dir=given", *words, data=sets)
    assert same(weights(own), weights(run))
    assert {**own.metrics} == {**run.metrics}


def test_processes_that_read_ahead_change_nothing() -> None:
    runs = [given(f"run_dir=run{workers}", f"data.workers={workers}", data=pair()) for workers in (0, 2)]
    assert same(weights(runs[0]), weights(runs[1]))
    assert runs[0].metrics == runs[1].metrics
    with pytest.raises(dlzoo.UserError, match=r"^item 5 of the test data is 3 x 4 x 4 uint8, but others are"):
        given("data.workers=1", "data.batch_size=4", data=(GOOD, GOOD, Odd((IMAGE[:, :4, :4], 1))), model=net())


@pytest.mark.parametrize("convert", [
    lambda pixels: pixels,
    lambda pixels: Image.fromarray(pixels.permute(1, 2, 0).numpy()),
    lambda pixels: pixels.permute(1, 2, 0).numpy(),
], ids=["tensor", "PIL", "array"])  # fmt: skip
def test_images_of_all_types_are_the_same(convert: Callable[[Tensor], Any]) -> None:
    with giving(Given(data=[Coloured(8, 0, convert), Coloured(8, 1, convert)])):
        data = DATASETS.build("given")
    assert torch.equal(data.train.images[:], _reference().train.images[:])


def _reference() -> Any:
    with giving(Given(data=[Coloured(8, 0), Coloured(8, 1)])):
        return DATASETS.build("given")


@pytest.mark.draws
def test_float_tensors_are_used_as_they_are() -> None:
    parts = [TensorDataset(torch.randn(32, 5, 8, 8), torch.arange(32) % 2) for _ in range(3)]
    run = given("model=resnet20", "model.width=4", "run_dir=run", "augment.mixup=0.2", data=parts)
    record = RunDir(run.dir).read()
    assert record["data_sizes"] == {"train": 32, "val": 32, "test": 32}
    assert (record["in_channels"], record["float_images"]) == (5, True)
    state = weights(run)
    assert state["normalise.scale"].eq(1).all()
    assert state["normalise.shift"].eq(0).all()


def test_numbers_are_predicted() -> None:
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    targets = images.float().mean((2, 3))[:, :2] / 100
    network = net(outputs=2)
    run = given("run_dir=run", model=network, data=[TensorDataset(images, targets)] * 2)
    record = RunDir(run.dir).read()
    assert (record["task"], record["classes"]) == ("regress", ["target 1", "target 2"])
    assert "test/rmse" in run.metrics
    single = [TensorDataset(images, targets[:, 0])] * 2
    assert "test/rmse" in given("run_dir=one", model=net(outputs=1), data=single).metrics


def test_subsets_keep_the_names_of_classes() -> None:
    data = Coloured(64, 0)
    data.classes = ["red", "green", "blue"]  # pyright: ignore[reportAttributeAccessIssue]
    run = given("run_dir=run", model=net(), data=(Subset(data, range(40)), Subset(data, range(40, 64))))
    record = RunDir(run.dir).read()
    assert record["classes"] == ["red", "green", "blue"]
    assert record["config"]["data"]["class_name"] == "Subset of Coloured"


class Odd(Dataset):
    """Ordinary items but for one."""

    def __init__(self, item: Any, place: int = 5) -> None:
        self.item, self.place = item, place

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        if index == self.place:
            return self.item() if callable(self.item) else self.item
        return torch.zeros(3, 8, 8, dtype=torch.uint8), index % 3


class Fickle(Odd):
    """Another target each time."""

    reads = 0

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return torch.zeros(3, 8, 8, dtype=torch.uint8), self.reads % 3


class Constant(nn.Module):
    """A network with an output of its own."""

    def __init__(self, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.weight, self.output = nn.Parameter(torch.ones(3, 3)), output

    def forward(self, images: Tensor) -> Any:
        return self.output(images)


IMAGE = torch.zeros(3, 8, 8, dtype=torch.uint8)
SHAPES = [
    (lambda: 1 / 0, "item 5 of the training data: __getitem__ raised ZeroDivisionError: division by zero"),
    (IMAGE, "item 5 of the training data is a Tensor, not a pair"),
    ((IMAGE, 1, 2), "item 5 of the training data is a tuple of 3, not a pair"),
    (([[0]], 1), "item 5 of the training data: the image is a list; it must be a PIL image"),
    ((IMAGE.int(), 1), "the image is a tensor (3, 8, 8) of int32; it must be"),
    ((np.zeros((8, 8)), 1), "the image is an array (8, 8) of float64; it must be"),
    ((IMAGE[:, :7], 1), "the image is 3 x 7 x 8 (channels x height x width), which is not square"),
    ((np.zeros((8, 8, 4), np.uint8), 1), "with 4 channels; uint8 images have 1 or 3"),
    ((Image.new("RGBA", (8, 8)), 1), "the image has mode RGBA, not L or RGB"),
    ((IMAGE, None), "the target is None; it must be an integer"),
    ((IMAGE, {"boxes": IMAGE}), "the target has no 'labels'; it must be {"),
    ((IMAGE, {"boxes": [], "labels": []}), "the target is 0 object(s), not a class"),
    ((IMAGE, torch.tensor([0, 1])), "the target is a tensor (2,) of int64; it must be"),
    ((IMAGE, -1), "the target is -1, not a class"),
    ((IMAGE, 0.5), "the target is 0.5, not a class"),
    ((IMAGE, float("nan")), "must be one or more finite numbers"),
]


@pytest.mark.parametrize(("item", "words"), SHAPES)
def test_an_odd_item_is_one_line_that_names_it(item: Any, words: str) -> None:
    with pytest.raises(dlzoo.UserError) as raised:
        given(model=net(), data=(Odd(item), Odd((IMAGE, 1))))
    assert words in str(raised.value)


GOOD = Odd((IMAGE, 1))
WRONG: list[tuple[list[str], dict[str, Any], str]] = [
    ([], {"model": "resnet18"}, "model must be an nn.Module, not a str; type model=resnet18"),
    ([], {"model": Net}, "model must be an nn.Module, not the class Net; pass an instance"),
    ([], {"model": nn.ReLU()}, "model: ReLU has no parameter to train"),
    ([], {"model": nn.LazyLinear(3)}, "LazyLinear has parameters that are not initialised yet"),
    ([], {"data": GOOD}, "data must be (train, test) or (train, validation, test), data sets of torch, not a Odd"),
    ([], {"data": (GOOD,)}, "not a tuple of 1"),
    ([], {"data": (GOOD, iter([]))}, "data[1] is a list_iterator, not a map-style data set"),
    ([], {"data": (GOOD, [])}, "the test data is empty"),
    ([], {"data": ([], GOOD)}, "the training data is empty"),
    ([], {"data": (GOOD, Odd((IMAGE, 3)))}, "item 5 of the test data: the target is 3, but the training data has 3"),
    ([], {"data": (GOOD, Odd((IMAGE[:, :4, :4], 1), 0))}, "item 0 of the test data is 3 x 4 x 4 uint8, but others are"),
    ([], {"data": (GOOD, Odd((IMAGE.float(), 1), 0))}, "item 0 of the test data is 3 x 8 x 8 float, but others are"),
    ([], {"data": (Fickle(0), GOOD)}, "targets must not change"),
    (["model=resnet20"], {"model": net()}, "'model=resnet20' and model=Net(...) were both given; leave one out"),
    (["data=digits"], {"data": (GOOD, GOOD)}, "'data=digits' and data=Odd(...) were both given; leave one out"),
    (["norm=gn"], {"model": net()}, "model=given does not support norm=gn"),
    (["init=he"], {"model": net()}, "init=he: training starts from the weights that Net has"),
    (["init_from=x"], {"model": net()}, "init_from=x: training starts from the weights that Net has"),
    (["model.pretrained=true"], {"model": net()}, "were both given; leave one out"),
    (["freeze=backbone"], {"model": net()}, "the model has no child with the name head"),
    (["trainer.devices=2"], {"model": net()}, "objects cannot be sent to other processes"),
    (
        ["data=shapes", "data.train=16", "data.test=8"],
        {"model": net()},
        "model=given is for classes and numbers, but data=shapes has objects",
    ),
    ([], {"model": net(4)}, "Net returns a tensor (4, 4) for 4 images, but must return a tensor (4, 3)"),
    ([], {"model": Constant(lambda images: {"out": images})}, "Constant returns a dict for 4 images"),
    ([], {"model": Constant(lambda images: {}["nothing"])}, "model: Constant cannot train on 4 image(s) of 8 px: "),
    (["model=given"], {}, "model=given is not typed: in Python, dlzoo.train(model=...) takes an object"),
    (["data=given"], {}, "data=given is not typed"),
    (["resume=absent"], {"model": net()}, "absent"),
]


@pytest.mark.parametrize(("settings", "objects", "words"), WRONG)
def test_a_wrong_use_is_one_line(settings: list[str], objects: dict[str, Any], words: str) -> None:
    data: dict[str, Any] = {}
    if not any(word.startswith(("data=", "resume=")) for word in settings):
        data["data"] = (GOOD, GOOD)
    typed = settings if settings == ["resume=absent"] else [*FAST, "data.batch_size=4", *settings]
    with pytest.raises(dlzoo.UserError) as raised:
        dlzoo.train(last_of_each(typed), quiet=True, **data | objects)
    assert words in str(raised.value)
    assert not list(Path().glob("outputs/*"))


@pytest.mark.parametrize("setting", ["augment=flip", "augment.cutout=2", "data.test_shift=blur"])
def test_float_tensors_are_not_augmented(setting: str) -> None:
    parts = [TensorDataset(torch.randn(32, 3, 8, 8), torch.arange(32) % 2)] * 2
    with pytest.raises(dlzoo.UserError, match=f"{setting} is for uint8 images, but the data sets have float tensors"):
        given(setting, data=parts)


def test_commands_say_that_a_run_needs_its_objects(capsys: pytest.CaptureFixture[str]) -> None:
    data = pair()
    data[0].fails_at = 260
    with pytest.raises(dlzoo.UserError):
        given("run_dir=run", model=net(), data=data)
    lines = {}
    for words in (["run", "run"], ["eval", "run=run"], ["predict", "run=run", "x.png"], ["train", "resume=run"]):
        capsys.readouterr()
        assert main(words) == 2
        (lines[words[0]],) = capsys.readouterr().err.splitlines()
    line = "run was started with objects (model: Net and data: Coloured); resume it with dlzoo.train(['resume=run'], "
    assert f"{line}model=..., data=...)" in lines["run"]
    assert lines["train"] == lines["run"]
    assert "evaluate it in Python, with model=..., data=..." in lines["eval"]
    with pytest.raises(dlzoo.UserError, match="not model: Constant and data: Coloured"):
        dlzoo.train(["resume=run"], model=Constant(lambda images: images), data=pair(), quiet=True)
    with pytest.raises(dlzoo.UserError, match="the data has changed"):
        dlzoo.train(["resume=run"], model=net(), data=(Coloured(64, 2), Coloured(24, 1)), quiet=True)
    larger = net()
    larger.extra = nn.Linear(2, 2)  # a network of the same class with other weights
    with pytest.raises(dlzoo.UserError, match="weights of another model"):
        dlzoo.train(["resume=run"], model=larger, data=pair(), quiet=True)
    plain = train(*FAST, "data.limit=100", "run_dir=plain")
    assert plain.dir == Path("plain")
    assert "given" not in dlzoo.available("model") + dlzoo.available("data")


def test_a_generator_of_its_own_is_noted() -> None:
    numbers = np.random.default_rng(0)
    data = Coloured(64, 0, lambda pixels: pixels ^ int(numbers.integers(256)))
    run = given("run_dir=run", model=net(), data=(data, Coloured(24, 1)))
    notes = RunDir(run.dir).read()["remarks"]
    assert any("the training data differs when an item is read twice with the same seeds" in note for note in notes)
