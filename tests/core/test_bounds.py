"""Every integer and every list of a setting has a limit, so that a slip of some zeros is one line before any work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlzoo.cli import main
from dlzoo.config.executor import LocalSettings, RaySettings, SlurmSettings
from dlzoo.config.settings import RunSettings, SweepSettings, TrainerSettings
from dlzoo.core import index
from dlzoo.core.schema import LARGEST, LONGEST, check, settings_of

HUGE = 10**11
#: Settings that cost nothing, however large they are.
SEEDS = {"seed", "split_seed", "draw"}


def every_setting() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting of the registries and of the sections that are none, by its name: "norm=gn num_groups"."""
    for section in (RunSettings, SweepSettings, TrainerSettings, LocalSettings, SlurmSettings, RaySettings):
        for name, schema in settings_of(section).items():
            yield f"{section.__name__} {name}", schema
    for choice, registry in index.load().items():
        entries = {entry: known["settings"] for entry, known in registry["entries"].items()}
        for entry, settings in ({"": registry["common"]} | entries).items():
            for name, schema in settings.items():
                yield f"{choice}={entry} {name}", schema


def leaves(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for part in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]:
        yield from leaves(part)


def test_every_integer_and_every_list_has_a_limit() -> None:
    integers, unlimited = 0, []
    for where, schema in every_setting():
        for leaf in leaves(schema):
            integers += leaf.get("type") == "integer"
            limit = 2**63 if where.split()[-1] in SEEDS else LARGEST
            if leaf.get("type") == "integer" and leaf.get("maximum", float("inf")) > limit:
                unlimited.append(where)
            if leaf.get("type") == "array" and leaf["maxItems"] > LONGEST:
                unlimited.append(where)
    assert unlimited == []
    assert integers > 100


def test_no_integer_setting_takes_a_slip_of_zeros() -> None:
    for where, schema in every_setting():
        kinds = {leaf.get("type") for leaf in leaves(schema)}
        if "integer" in kinds and "number" not in kinds and where.split()[-1] not in SEEDS:
            for value in (HUGE, [HUGE]):
                with pytest.raises(ValueError, match=r"^must be .*, not \[?100000000000\]?$"):
                    check(schema, value)


def test_defaults_are_within_the_limits() -> None:
    for where, schema in every_setting():
        default = schema["default"]
        assert check(schema, default) == (tuple(default) if isinstance(default, list) else default), where


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["neck.depth", "model=yolov3", "data=shapes"], "an integer from 1 to 1,000"),
        (["neck.repeats", "model=retinanet", "data=shapes", "neck=bifpn"], "an integer from 1 to 1,000"),
        (["data.train", "data=shapes"], "an integer from 1 to 1,000,000"),
        (["data.test", "data=shapes"], "an integer from 1 to 1,000,000"),
        (["augment.operations", "augment=randaugment"], "an integer from 0 to 100"),
        (["model.depth", "model=retinanet", "data=shapes"], "an integer from 1 to 1,000"),
        (["model.width", "model=resnet18"], "an integer from 1 to 100,000"),
        (["schedule.warmup"], "a number from 0 to 1,000,000,000"),
        (["schedule.every", "schedule=step"], "a number > 0 and <= 1,000,000,000"),
        (["trainer.max_epochs"], "an integer from 1 to 1,000,000,000"),
        (["trainer.devices"], "an integer from 1 to 1,024 or all"),
        (["data.batch_size"], "an integer from 1 to 1,000,000,000 or full"),
        (["data.limit"], "an integer from 1 to 1,000,000,000 or null"),
        (["augment.mixup"], "a number from 0 to 1,000"),
        (["freeze"], "none or backbone or an integer from 1 to 1,000,000,000"),
    ],
    ids=str,
)
def test_a_slip_of_zeros_is_one_line_before_any_work(
    words: list[str], says: str, capsys: pytest.CaptureFixture
) -> None:
    key, *rest = words
    assert main(["train", "trainer=cpu", *rest, f"{key}={HUGE}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"^dlzoo: {key} must be {re.escape(says)}( or null)?, not 1(0{{11}}|e\+11)", line), line
    assert not Path("outputs").exists()


@pytest.mark.parametrize("count", [1_001, 2_000])
@pytest.mark.parametrize("words", [["conv=dilated", "conv.rates"], ["head=fc", "head.hidden"], ["model.hidden"]])
def test_a_list_without_end_is_one_short_line(words: list[str], count: int, capsys: pytest.CaptureFixture) -> None:
    model = [] if len(words) == 2 else ["model=mlp"]
    assert main(["train", *model, *words[:-1], f"{words[-1]}=[{','.join(['2'] * count)}]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{words[-1]} must be a list of at most 1,000, each an integer from 1 to 100,000" in line
    assert len(line) < 400


def test_what_someone_may_want_is_taken() -> None:
    config = {
        "seed": 20_261_129_123_456,
        "name": None,
        "run_dir": None,
        "init_from": None,
        "freeze": 10_000,
        "hooks": ("csv",),
    }
    for name, schema in settings_of(RunSettings).items():
        assert check(schema, config[name]) == config[name]
    trainer = settings_of(TrainerSettings)
    for name, value in {"max_epochs": 10_000_000, "log_every": 1_000_000, "limit_batches": 10**8}.items():
        assert check(trainer[name], value) == value


@pytest.mark.parametrize("name", ["dropout", "spatial", "gaussian", "dropblock", "stochastic_depth"])
@pytest.mark.parametrize("rate", [0.995, 0.999999, 1])
def test_a_rate_that_drops_everything_is_refused(name: str, rate: float, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "model=resnet20", f"drop={name}", f"drop.rate={rate}"]) == 2
    assert f"drop.rate must be a number from 0 to 0.99, not {rate}" in capsys.readouterr().err
