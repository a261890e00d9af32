"""Composition: what is asked for is what is frozen, and every mistake is one helpful line, without torch."""

import random
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from dlzoo import config
from dlzoo.config import compose, finalise, read
from dlzoo.core import index, stamp
from dlzoo.core.errors import UserError
from dlzoo.core.registries import PARTS, REGISTRIES
from dlzoo.core.stamp import stamp_of_sources


def test_a_config_is_complete_and_its_defaults_are_filled_in() -> None:
    made = compose(["model=densenet121", "norm=gn", "norm.num_groups=16", "optimizer.lr=1"])
    assert made["model"] == {
        "name": "densenet121",
        "stem": "auto",
        "growth_rate": 32,
        "bottleneck": True,
        "compression": 0.5,
        "pretrained": False,
    }
    assert made["norm"]["num_groups"] == 16
    assert made["act"] == {"name": "relu"}
    assert made["init"]["name"] == "he"
    assert made["augment"]["name"] == "crop"  # what digits are registered with
    assert made["optimizer"]["lr"] == 1.0
    assert isinstance(made["optimizer"]["lr"], float)


def test_a_default_takes_the_settings_of_what_it_stands_for() -> None:
    assert compose(["norm.eps=0.001"])["norm"] == {"name": "bn", "affine": True, "eps": 0.001, "momentum": 0.1}


def test_defaults_of_a_choice_belong_to_the_choice_and_not_to_another() -> None:
    assert compose(["trainer=cpu", "data=cifar10"])["augment"]["name"] == "flip_crop"
    assert compose(["data.batch_size=full"])["data"]["batch_size"] == "full"
    assert compose(["model=mlp", "model.hidden=[8,4]"])["model"]["hidden"] == [8, 4]


def test_a_value_that_hydra_cannot_read_is_a_word() -> None:
    for path in ("~/runs/a", "/tmp/josé", "runs/中", "a#b", "x=y", "C:\\runs", 'say "hi"'):
        assert compose([f"run_dir={path}"])["run_dir"] == path


def test_freezing_is_idempotent_and_survives_yaml() -> None:
    for overrides in ([], ["model=linear"], ["norm=none", "trainer=debug", "seed=7"]):
        made = compose(overrides)
        assert finalise(yaml.safe_load(yaml.safe_dump(made))) == made


@pytest.mark.parametrize("choice", [*REGISTRIES, "trainer"])
def test_every_name_of_every_choice_composes(choice: str) -> None:
    for name in config.options(choice):
        if choice in PARTS or choice in ("backbone", "box_loss", "nms"):
            model = {"upsample": "hrnet_w18"}.get(
                choice, "yolov3" if choice not in PARTS or choice == "neck" else "resnet20"
            )
            compose([f"model={model}", f"{choice}={name}"])
        else:
            compose([f"{choice}={name}"])


@pytest.mark.parametrize("seed", range(5))
def test_entries_put_into_a_composed_config_are_what_hydra_composes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = random.Random(seed)
    choices = numbers.sample(["norm", "act", "conv", "attention", "drop", "init", "optimizer", "schedule"], 4)
    words = [f"{choice}={numbers.choice(config.options(choice))}" for choice in choices]
    experiment = numbers.choice([[], ["experiment=bn_vs_gn"], ["experiment=optimizers"]])
    made = compose([*words, *experiment], in_sweep=True)
    composing = sys.modules["dlzoo.config.compose"]
    monkeypatch.setattr(composing, "sections_in_files", lambda files, state: None)
    assert compose([*words, *experiment], in_sweep=True) == made


def test_what_a_file_sets_for_an_entry_holds_for_another_entry_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    shutil.copytree(config.conf_dir(), folder)
    for module in ("defaults", "compose", "conf_files", "with_hydra"):
        monkeypatch.setattr(sys.modules[f"dlzoo.config.{module}"], "conf_dir", lambda: folder)
    with (folder / "config.yaml").open("a") as file:
        file.write("optimizer: {lr: 1e-3}\n")
    assert compose([])["optimizer"]["lr"] == compose(["optimizer=adagrad"])["optimizer"]["lr"] == 1e-3


WRONG = {
    "modle=resnet20": "did you mean model=resnet20?",
    "model=resnet21": "unknown model 'resnet21'; did you mean",
    "model=3": "unknown model 3",
    "norm=batchnorm": "unknown norm 'batchnorm'; did you mean norm=bn?",
    "norm.num_groups=8": "norm=bn has no such setting",
    "norm=gn norm.num_groups=0": "norm.num_groups must be an integer >= 1, not 0",
    "lr=0.1": "did you mean optimizer.lr=0.1?",
    "batch_size=4": "did you mean data.batch_size=4?",
    "optimizer.lrr=1": "did you mean optimizer.lr=1?",
    "optimizer.lr=abc": "optimizer.lr must be a number > 0, not 'abc'",
    "optimizer.lr=-1": "must be a number > 0",
    "trainer.ema=1": "must be a number >= 0 and < 1 or null, not 1",
    "loss.label_smoothing=1": "must be a number >= 0 and < 1",
    "data.label_noise=1": "must be a number >= 0 and < 1",
    "norm.affine=3": "must be true or false",
    "data.batch_size=0": "data.batch_size must be an integer >= 1 or full, not 0",
    "data.batch_size=2.5": "must be an integer",
    "seed=-1": "seed must be an integer >= 0",
    "trainer.precision=fp61": "must be auto or fp32 or bf16 or fp16",
    "trainer=gpuu": "did you mean trainer=gpu?",
    "experiment=nothing": "unknown experiment",
    "model=linear norm=gn": "model=linear does not support norm=gn",
    "norm=bn,gn": "has several values: add -m",
    "~norm": "cannot be removed",
    "norm": "type key=value",
    "optimizer.lr=[": "cannot read 'optimizer.lr=[': a bracket is not closed",
    "=3": "key=value",
    "hydra.run.dir=x": "unknown key 'hydra.run.dir'",
    "num_groups=8": "did you mean norm=gn norm.num_groups=8?",
    "growth_rate=3 model=densenet121": "did you mean model.growth_rate=3?",
    "run_dir=": "must be a word or null",
    "optimizer=adam optimizer.beta1=1": "must be a number >= 0 and < 1",
    "seed=${foo}": "Interpolation key 'foo' not found",
    "a.b.c=1": "unknown key 'a.b.c'",
    "optimizer.lr.x=1": "optimizer.lr is a single value",
    "data={a: 1}": "unknown data",
    "model.name=resnet32": "type model=resnet32",
}


@pytest.mark.parametrize("typed", WRONG)
def test_a_mistake_is_one_line(typed: str) -> None:
    with pytest.raises(UserError) as error:
        compose(typed.split(" ") if not typed.startswith("data={") else [typed])
    assert WRONG[typed] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_config_file_is_one_line_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    good = compose([])
    for content, says in [
        (yaml.safe_dump(good | {"sed": 1}), "unknown key 'sed'"),
        (yaml.safe_dump(good | {"seed": "x"}), "seed must be an integer"),
        (yaml.safe_dump(good | {"norm": {"name": "gn"}}), "norm.num_groups is missing"),
        (yaml.safe_dump(good | {"norm": "gn"}), "norm must be a section"),
        (yaml.safe_dump(good | {"model": {"name": "resnet21"}}), "unknown model 'resnet21'"),
        ("a: [1", "not valid YAML"),
        ("just words", "not a config"),
    ]:
        path.write_text(content)
        with pytest.raises(UserError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")
        assert says in str(error.value)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "absent.yaml")


def test_the_index_notices_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stamp_of_sources(REGISTRIES)
    monkeypatch.setattr(stamp, "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("x = 1")
    second = stamp_of_sources(REGISTRIES)
    (tmp_path / "a.py").write_text("x = 12")
    assert len({first, second, stamp_of_sources(REGISTRIES)}) == 3


def test_the_index_is_what_the_registries_say() -> None:
    for choice, registry in REGISTRIES.items():
        assert index.available(choice) == registry.names()
        for name in registry.names():
            assert index.entries(choice)[name]["settings"] == registry[name].settings
