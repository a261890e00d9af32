"""What it takes to have the runs again: shell lines, versions, machine."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlzoo.comparison.design import Design
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core.schema import knobs_of
from dlzoo.runs.differences import chosen, format_value

_ENVIRONMENT = ("device", "precision", "ranks", "git_commit")

#: More arms than this are not written out: their config.yaml are beside them.
_MOST = 40


def commands(
    folder: Path,
    lines: Sequence[str],
    made: Design,
    configs: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> list[str]:
    """What one types to have all of it again.

    Args:
        lines: those that made the runs, if a sweep wrote them down; without them a line an arm.
        configs: of the runs that the design was made of.
        options: of the report: {"baseline": "norm=bn"}; None is left out.
    """
    own = [word for name, value in options.items() if value is not None for word in (f"--{name}", format_value(value))]
    if not lines:
        whole = folder if folder.name not in ("", "..") else folder.resolve()  # of `dlzoo report .`
        folder = whole.with_name(f"{whole.name}_again")
        lines = [_arm(configs, seeds, folder) for seeds in list(made.arms.values())[:_MOST]]
    return [*lines, shlex.join(["dlzoo", "report", str(folder), *own])]


def _arm(configs: Sequence[Mapping[str, Any]], seeds: Mapping[int, Sequence[int]], folder: Path) -> str:
    """`python train.py -m ...` of one arm, with every choice named; settings that have their defaults are left out."""
    config = configs[next(iter(seeds.values()))[0]]
    usual = {f"trainer.{key}": schema["default"] for key, schema in knobs_of(TrainerSettings).items()}
    usual |= {key: schema["default"] for key, schema in knobs_of(RunSettings).items()}
    words = [
        f"{key}={format_value(value)}"
        for key, value in chosen(config).items()
        if key != "seed" and value != "default" and (key not in usual or usual[key] != value)
    ]
    words += [f"sweep.dir={folder}", f"seed={','.join(map(str, sorted(seeds)))}"]
    return shlex.join(["python", "train.py", "-m", *words])


def environment(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """What ran the runs: name -> value -> how many."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        sizes = {f"{split} samples": size for split, size in (record.get("data_sizes") or {}).items()}
        facts = {**sizes, **(record.get("versions") or {}), **{key: record.get(key) for key in _ENVIRONMENT}}
        for name, value in facts.items():
            if value is not None:
                found.setdefault(name, Counter())[str(value)] += 1
    return {name: dict(counts) for name, counts in found.items()}
