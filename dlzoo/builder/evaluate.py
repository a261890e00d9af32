"""`dlzoo eval`: evaluate a run's checkpoint on its test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlzoo.builder.given import check_given
from dlzoo.builder.locate import locate
from dlzoo.builder.trainer import Assembled
from dlzoo.builder.weights import without_weights
from dlzoo.config import read, with_changes
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AFTER_TRAINING
from dlzoo.engine.signals import catch_signals
from dlzoo.runs import kept_parts
from dlzoo.runs.locations import MOVABLE, is_place
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import Tested

#: Settings that may differ from training: they affect only the tested images, or the processing of the outputs.
CONDITIONS = ("data.test_shift", "data.test_severity", "augment.test", *AFTER_TRAINING)


def evaluate(path: str, conditions: Sequence[str] = ()) -> dict[str, float]:
    """Return the test metrics of the run at `path`, {"test/accuracy": ...}, computed on the available device.

    Files that the task writes, such as the boxes of a detector, go to `results_folder`.

    Args:
        conditions: settings that differ from the run's, such as data.test_shift=noise, or where its data is now.

    Raises:
        UserError: if `path` is not a run, has no checkpoint, its data has changed, or a condition cannot be set.
    """
    run = RunDir.open(path)
    with kept_parts.using_kept(run.path, run.read()):
        check_given(run.path, read(run.config_file), "evaluate")
        return _evaluate(run, conditions)


def _evaluate(run: RunDir, conditions: Sequence[str]) -> dict[str, float]:
    checkpoint = run.selected_checkpoint()
    config = locate(read(run.config_file), run.read(), [word for word in conditions if is_place(word)])
    config = without_weights(with_changes(config, _without_places(conditions), (*CONDITIONS, *MOVABLE)))
    if (known := run.read().get("value_range")) and "range" in config["data"]:
        config["data"]["range"] = known  # as trained, whatever images are there now
    config["trainer"] |= {"accelerator": "auto", "devices": 1, "compile": False}
    with catch_signals() as stop:
        assembled = Assembled(config)
        if run.read().get("data_fingerprint") != assembled.data.fingerprint:
            raise UserError(f"{run.path}: the data has changed since the run was trained; restore it, or train again")
        assembled.load(checkpoint)
        metrics = assembled.test([stop])
    assembled.spec.write_evaluation(
        Tested(assembled.module, assembled.data), metrics, results_folder(str(run.path), conditions)
    )
    return metrics


def results_folder(path: str, conditions: Sequence[str] = ()) -> Path:
    """Return the folder of the results under these conditions: `eval` in the run's folder, or below that."""
    return Path(path, "eval", ",".join(sorted(_without_places(conditions))))


def _without_places(conditions: Sequence[str]) -> list[str]:
    return [word for word in conditions if not is_place(word)]
