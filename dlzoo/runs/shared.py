"""Runs of one network, which differ in what is made of its answers only: the first trains, the others test what it has.

What the others need of the training they copy, and go on from there as from their own checkpoint. One whose elder has
not finished, or is not what it seems, trains by itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlzoo.errors import UserError
from dlzoo.runs.run_dir import RunDir

Config = Mapping[str, Any]

#: Sections of a config that no training step looks at.
_AFTER_TRAINING = ("nms",)

#: What run.json of a training says that its heirs rely on when they go on.
_KNOWN = ("data_fingerprint", "threads", "ranks", "wall_seconds", "init_from")


def elders(runs: Iterable[tuple[Path, Config]]) -> dict[Path, Path]:
    """Run -> the first of `runs` that trains the same network, of each run but those first ones."""
    first: dict[str, Path] = {}
    found = {}
    for path, config in runs:
        elder = first.setdefault(_training(config), path)
        if elder != path:
            found[path] = elder
    return found


def point_to(elder: Path, run: Path) -> None:
    """Let a run that has not begun take the training of another in the same folder."""
    heir = RunDir(run)
    if not heir.has_begun():
        heir.update(trained_by=elder.name)


def take_training(run: RunDir) -> None:
    """Copy what `point_to` promised: checkpoints, the log, and what they rely on."""
    record = run.read()
    if "trained_by" not in record or run.has_begun():
        return
    with suppress(UserError):
        elder = RunDir.open(run.path.parent / record["trained_by"])
        trained = elder.read()
        if trained["state"] == "finished" and _training(trained["config"]) == _training(record["config"]):
            shutil.copy2(elder.metrics_file, run.metrics_file)
            for source in (elder.best_checkpoint, elder.last_checkpoint):
                if source.exists():
                    shutil.copy2(source, run.path / "checkpoints" / source.name)
            run.update(**{key: trained[key] for key in _KNOWN if key in trained})


def _training(config: Config) -> str:
    """What decides a training, as one word."""
    return json.dumps(
        {key: value for key, value in config.items() if key not in (*_AFTER_TRAINING, "run_dir")}, sort_keys=True
    )
