"""Describe how to reproduce the runs: shell lines, versions, hardware."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlzoo.comparison.design import Design
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core.given import CLASS, classes_in
from dlzoo.core.schema import settings_of
from dlzoo.runs.differences import chosen_settings, format_value

_ENVIRONMENT = ("device", "precision", "ranks", "git_commit")

#: Most arms that are written out; the others have their config.yaml.
_MOST = 40


def commands(
    folder: Path,
    lines: Sequence[str],
    design: Design,
    configs: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> list[str]:
    """Return the shell lines that reproduce the runs and the report.

    Args:
        lines: those that started the runs, if a sweep recorded them; without them one line per arm.
        configs: of the runs that the design was made of.
        options: of the report: {"baseline": "norm=bn"}; None is left out.
    """
    words = [
        word for name, value in options.items() if value is not None for word in (f"--{name}", format_value(value))
    ]
    if not lines:
        named = folder if folder.name not in ("", "..") else folder.resolve()  # `dlzoo report .`
        folder = named.with_name(f"{named.name}_again")
        lines = [_arm(configs, seeds, folder) for seeds in list(design.arms.values())[:_MOST]]
    return [*lines, shlex.join(["dlzoo", "report", str(folder), *words])]


def _arm(configs: Sequence[Mapping[str, Any]], seeds: Mapping[int, Sequence[int]], folder: Path) -> str:
    """Return `python train.py -m ...` for one arm, with every choice named and without settings that are defaults.

    An arm whose network or data was given as an object is a comment with the call in Python.
    """
    config = configs[next(iter(seeds.values()))[0]]
    objects = classes_in(config)
    defaults = {f"trainer.{key}": schema["default"] for key, schema in settings_of(TrainerSettings).items()}
    defaults |= {key: schema["default"] for key, schema in settings_of(RunSettings).items()}
    words = [
        f"{key}={format_value(value)}"
        for key, value in chosen_settings(config).items()
        if key not in ("seed", *objects, *(f"{choice}.{CLASS}" for choice in objects))
        and value != "default"
        and (key not in defaults or defaults[key] != value)
    ]
    if objects:
        given = ", ".join(f"{choice}=<{name}>" for choice, name in objects.items())
        return f"# in Python, for seeds {', '.join(map(str, sorted(seeds)))}: dlzoo.train({words}, {given})"
    words += [f"sweep.dir={folder}", f"seed={','.join(map(str, sorted(seeds)))}"]
    return shlex.join(["python", "train.py", "-m", *words])


def environment(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return the versions, data sizes and hardware of runs: name -> value -> number of runs."""
    by_name: dict[str, Counter[str]] = {}
    for record in records:
        sizes = {f"{split} samples": size for split, size in (record.get("data_sizes") or {}).items()}
        facts = {**sizes, **(record.get("versions") or {}), **{key: record.get(key) for key in _ENVIRONMENT}}
        for name, value in facts.items():
            if value is not None:
                by_name.setdefault(name, Counter())[str(value)] += 1
    return {name: dict(counts) for name, counts in by_name.items()}
