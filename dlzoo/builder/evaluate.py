"""`dlzoo eval`: a run's test numbers again, from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlzoo.builder.profile import without_weights
from dlzoo.builder.trainer import Assembled
from dlzoo.config import read, with_changes
from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.engine.signals import signals
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import Tested

#: What may be other than it was in training: it touches the tested images only, or what is made of the answers.
CONDITIONS = (
    *("data.test_shift", "data.test_severity", "augment.test"),
    *(choice for choice, registry in REGISTRIES.items() if registry.after_training),
)


def evaluate(path: str, conditions: Sequence[str] = ()) -> dict[str, float]:
    """The test metrics of the run at `path`: {"test/accuracy": ...}, on whatever device is here.

    What else the task leaves, such as the boxes of a detector, goes to `folder`.

    Args:
        conditions: settings under which it is tested this time: data.test_shift=noise.

    Raises:
        UserError: if it is no run, has no checkpoint, its data has changed, or a condition is none.
    """
    run = RunDir.open(path)
    checkpoint = run.selected_checkpoint()
    config = without_weights(with_changes(read(run.config_file), conditions, CONDITIONS))
    config["trainer"] |= {"accelerator": "auto", "devices": 1, "compile": False}
    with signals() as stop:
        made = Assembled(config)
        if run.read().get("data_fingerprint") != made.data.fingerprint:
            raise UserError(f"{path}: the data is not what the run was trained on")
        made.load(checkpoint)
        metrics = made.test([stop])
    made.spec.write_evaluation(Tested(made.task, made.data), metrics, folder(path, conditions))
    return metrics


def folder(path: str, conditions: Sequence[str] = ()) -> Path:
    """Where the run's pictures under these conditions are: `eval` in its folder, or below that."""
    return Path(path, "eval", ",".join(sorted(conditions)))
