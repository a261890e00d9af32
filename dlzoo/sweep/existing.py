"""Find the runs of a sweep's folder by their settings, whatever they are called."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.terminal import in_one_line
from dlzoo.runs.differences import flatten
from dlzoo.runs.run_dir import RunDir


def find_by_settings(folder: Path) -> dict[str, Path]:
    """Return settings_key -> run directory of the runs in a folder; damaged ones are left out."""
    there = {}
    for path in sorted(folder.iterdir()):
        if (path / "run.json").is_file():
            try:
                there.setdefault(settings_key(RunDir(path).read()["config"]), path)
            except UserError:
                continue
    return there


def settings_key(config: Config) -> str:
    """Return a text that is equal for configs of equal settings."""
    return json.dumps(flatten(config), sort_keys=True)


def free_name(folder: Path, *, in_outputs: bool) -> str:
    """Return the setting of a folder that is not taken yet: "name=norms_2", or "sweep.dir=elsewhere/norms_2"."""
    free = next(path for number in count(2) if not (path := folder.with_name(f"{folder.name}_{number}")).exists())
    return in_one_line(f"name={free.relative_to('outputs')}" if in_outputs else f"sweep.dir={free}")
