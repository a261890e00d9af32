"""Find the runs that are excluded from the numbers of a report, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlzoo.comparison.design import Arm, Design
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.schema import settings_of
from dlzoo.report.content import Unfinished
from dlzoo.runs.differences import defaults_of
from dlzoo.runs.table import Row

#: Sections that a config needs to be compared.
_SECTIONS = ("data", "model", "optimizer", "trainer")
_NOT_A_NUMBER = "its result is not a finite number, or it did not measure the metric"


def validate(row: Row) -> Row:
    """Return the row with defaults filled in, or as damaged if a report cannot read its run.json."""
    record = row.record
    config = record["config"]
    good = type(config.get("seed")) is int
    good = good and all(isinstance(config.get(section), Mapping) for section in _SECTIONS)
    good = good and all(_is_choice(config.get(choice, {"name": ""})) for choice in REGISTRIES)
    if row.state == "damaged":
        return row
    if good:
        return replace(row, record=dict(record) | {"config": _complete(config)})
    return Row(row.path, {"state": "damaged", "error": "the config in its run.json is not valid", "config": {}}, {})


def _is_choice(section: Any) -> bool:
    return isinstance(section, Mapping) and isinstance(section.get("name"), str)


def _complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the current defaults of settings that did not exist in an older dlzoo."""
    completed = {key: schema["default"] for key, schema in settings_of(RunSettings).items()} | dict(config)
    completed["trainer"] = {key: schema["default"] for key, schema in settings_of(TrainerSettings).items()} | config[
        "trainer"
    ]
    for choice in REGISTRIES:
        section = config.get(choice, {"name": "default"})
        # A part that the model does not support has no settings either.
        known = {} if section.get("name", "default") == "default" else defaults_of(choice, section["name"])
        completed[choice] = known | section
    return completed


def excluded_runs(
    folder: Path, design: Design, rows: Sequence[Row], readable: Sequence[Row], runs: Mapping[Arm, Mapping[int, Row]]
) -> list[Unfinished]:
    """Return the runs that are unfinished, damaged, superseded or missing.

    Args:
        rows: all runs of the folder.
        readable: the runs that the design was made of, in its order.
        runs: the runs that are included in the numbers.
    """
    places = {
        readable[index].path: (arm, seed)
        for arm, seeds in design.arms.items()
        for seed, indices in seeds.items()
        for index in indices
    }
    included = {row.path for of_arm in runs.values() for row in of_arm.values()}
    unfinished = []
    for row in rows:
        if row.path in included:
            continue
        if row.path not in places:
            place = str(row.path.relative_to(folder)) if row.path != folder else row.path.name
            unfinished.append(Unfinished(place, row.word, row.error))
            continue
        arm, seed = places[row.path]
        reason = row.error
        if row.state == "finished":
            other = runs.get(arm, {}).get(seed)
            reason = f"the same run as {other.path.name}, which ended later" if other else _NOT_A_NUMBER
        unfinished.append(Unfinished(_label(design, arm, seed), row.word, reason))
    return unfinished + [Unfinished(_label(design, arm, seed), "missing", "") for arm, seed in design.missing]


def _label(design: Design, arm: Arm, seed: int) -> str:
    return f"{design.label(arm)} seed={seed}"
