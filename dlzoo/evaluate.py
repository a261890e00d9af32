"""`dlzoo eval`: a run's test numbers again, from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo.assembly import Assembled
from dlzoo.config import changed, read
from dlzoo.errors import UserError
from dlzoo.runs.run_dir import RunDir
from dlzoo.size import without_weights
from dlzoo.tasks.signals import signals

#: What may be other than it was in training: it touches the tested images only.
CONDITIONS = ("data.test_shift", "data.test_severity", "augment.test")


def evaluate(path: str, conditions: Sequence[str] = ()) -> dict[str, float]:
    """The test metrics of the run at `path`: {"test/accuracy": ...}, on whatever device is here.

    Args:
        conditions: settings under which it is tested this time: data.test_shift=noise.

    Raises:
        UserError: if it is no run, has no checkpoint, its data has changed, or a condition is none.
    """
    run = RunDir.open(path)
    checkpoint = run.selected_checkpoint()
    config = without_weights(changed(read(run.config_file), conditions, CONDITIONS))
    config["trainer"] |= {"accelerator": "auto", "devices": 1, "compile": False}
    with signals() as stop:
        made = Assembled(config)
        if run.read().get("data_fingerprint") != made.data.fingerprint:
            raise UserError(f"{path}: the data is not what the run was trained on")
        made.load(checkpoint)
        metrics, _ = made.test([stop])
    return metrics
