"""Reuse of trained networks: of runs that differ only in settings used after training, the first one trains.

The others, its dependent runs, copy its log and checkpoints, and continue as from their own checkpoint. A run trains
itself if its source run has not finished or has other settings; so does every run in which validation, which uses those
settings, decides anything: which weights are tested or kept, when training ends, or the learning rate.
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
from dlzoo.core.files import write_atomically
from dlzoo.core.registries import REGISTRIES
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir

Config = Mapping[str, Any]

#: Sections of a config that no training step uses.
_AFTER_TRAINING = tuple(choice for choice, registry in REGISTRIES.items() if registry.after_training)

#: Fields of a source run's run.json that dependent runs copy.
_COPIED = ("data_fingerprint", "threads", "ranks", "wall_seconds", "others_busy", "init_from")


def source_runs(runs: Iterable[tuple[Path, Config]]) -> dict[Path, Path]:
    """Return dependent run -> source run: the first of `runs` that trains the same network."""
    first: dict[str, Path] = {}
    sources = {}
    for path, config in runs:
        if _validation_decides(config):
            continue
        source = first.setdefault(_training_key(config), path)
        if source != path:
            sources[path] = source
    return sources


def set_source(source: Path, run: Path) -> None:
    """Record that a run that has not started reuses the training of another one in the same folder."""
    dependent = RunDir(run)
    if not dependent.has_begun():
        dependent.update(trained_by=source.name)


def copy_training(run: RunDir) -> None:
    """Copy the training that `set_source` recorded: fields of run.json, the log, and the checkpoints, last.ckpt last.

    Validation results are not copied, as they depend on the settings that differ. If a run is killed while copying, it
    starts over.
    """
    record = run.read()
    if "trained_by" not in record or run.last_checkpoint.exists():
        return
    with suppress(UserError):
        source = RunDir.open(run.path.parent / record["trained_by"])
        trained = source.read()
        same = trained["state"] == "finished" and _training_key(trained["config"]) == _training_key(record["config"])
        if same and source.last_checkpoint.exists():
            run.update(**{key: trained[key] for key in _COPIED if key in trained}, training_taken=True)
            write_atomically(run.metrics_file, "".join(_training_records(read_metrics(source.metrics_file))))
            for original in [*source.other_checkpoints(), source.last_checkpoint]:
                target = run.last_checkpoint.with_name(original.name)
                part = target.with_name(f"{target.name}.part")
                shutil.copy2(original, part)
                part.replace(target)


def _training_records(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a log, without metrics of the validation and test splits."""
    for record in records:
        if any(name.startswith("train/") for name in record):
            kept = {name: value for name, value in record.items() if not name.startswith(("val/", "test/"))}
            yield json.dumps(kept) + "\n"


def _validation_decides(config: Config) -> bool:
    trainer, schedule = config["trainer"], config["schedule"]["name"]
    follows = index.marks("schedule", schedule).validation
    set_ones = [key for key in ("early_stopping", "keep_best") if trainer.get(key) is not None]
    return trainer["select"] != "last" or bool(set_ones) or follows


def _training_key(config: Config) -> str:
    """Return the settings that determine a training, as a string."""
    return json.dumps(
        {key: value for key, value in config.items() if key not in (*_AFTER_TRAINING, "run_dir")}, sort_keys=True
    )
