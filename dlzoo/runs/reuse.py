"""Runs of one network, which differ in what is made of its answers only: the first trains, the others test what it has.

What the others need of the training they copy, and go on from there as from their own checkpoint. One whose elder has
not finished, or is not what it seems, trains by itself; so does each where validation, which sees the answers, decides
anything: which weights are tested, when the training ends, or the rate.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir, write_atomically

Config = Mapping[str, Any]

#: Sections of a config that no training step looks at.
_AFTER_TRAINING = tuple(choice for choice, registry in REGISTRIES.items() if registry.after_training)

#: What run.json of a training says that its heirs rely on when they go on.
_RELIED_ON = ("data_fingerprint", "threads", "ranks", "wall_seconds", "init_from")


def source_runs(runs: Iterable[tuple[Path, Config]]) -> dict[Path, Path]:
    """Run -> the first of `runs` that trains the same network, of each run but those first ones."""
    first: dict[str, Path] = {}
    found = {}
    for path, config in runs:
        if _validation_decides(config):
            continue
        elder = first.setdefault(_training_key(config), path)
        if elder != path:
            found[path] = elder
    return found


def set_source(elder: Path, run: Path) -> None:
    """Let a run that has not begun take the training of another in the same folder."""
    heir = RunDir(run)
    if not heir.has_begun():
        heir.update(trained_by=elder.name)


def copy_training(run: RunDir) -> None:
    """Copy what `set_source` promised: what checkpoints rely on, the log, and the checkpoints, the last one last.

    Not what the elder's validation said, which saw other answers. A run that was killed in the middle of it begins it
    anew.
    """
    record = run.read()
    if "trained_by" not in record or run.last_checkpoint.exists():
        return
    with suppress(UserError):
        elder = RunDir.open(run.path.parent / record["trained_by"])
        trained = elder.read()
        same = trained["state"] == "finished" and _training_key(trained["config"]) == _training_key(record["config"])
        if same and elder.last_checkpoint.exists():
            run.update(**{key: trained[key] for key in _RELIED_ON if key in trained}, training_taken=True)
            write_atomically(run.metrics_file, "".join(_training_records(read_metrics(elder.metrics_file))))
            own = {elder.best_checkpoint: run.best_checkpoint, elder.last_checkpoint: run.last_checkpoint}
            for source, target in own.items():
                if source.exists():
                    part = target.with_name(f"{target.name}.part")
                    shutil.copy2(source, part)
                    part.replace(target)


def _training_records(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The lines of a log, without what was measured on other data than that of the training."""
    for record in records:
        if any(name.startswith("train/") for name in record):
            own = {name: value for name, value in record.items() if not name.startswith(("val/", "test/"))}
            yield json.dumps(own) + "\n"


def _validation_decides(config: Config) -> bool:
    trainer, schedule = config["trainer"], config["schedule"]["name"]
    follows = index.marks("schedule", schedule).validation
    return trainer["select"] != "last" or trainer["early_stopping"] is not None or follows


def _training_key(config: Config) -> str:
    """What decides a training, as one word."""
    return json.dumps(
        {key: value for key, value in config.items() if key not in (*_AFTER_TRAINING, "run_dir")}, sort_keys=True
    )
