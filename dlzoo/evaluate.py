"""`dlzoo eval`: a run's test numbers again, from its checkpoint."""

from __future__ import annotations

from dlzoo.assembly import Assembled
from dlzoo.config import read
from dlzoo.errors import UserError
from dlzoo.runs.run_dir import RunDir
from dlzoo.size import without_weights
from dlzoo.tasks.signals import signals


def evaluate(path: str) -> dict[str, float]:
    """The test metrics of the run at `path`: {"test/accuracy": ...}, on whatever device is here.

    Raises:
        UserError: if it is no run, has no checkpoint, or its data has changed.
    """
    run = RunDir.open(path)
    checkpoint, config = run.selected_checkpoint(), without_weights(read(run.config_file))
    config["trainer"] |= {"accelerator": "auto", "devices": 1, "compile": False}
    with signals() as stop:
        made = Assembled(config)
        if run.read().get("data_fingerprint") != made.data.fingerprint:
            raise UserError(f"{path}: the data is not what the run was trained on")
        made.load(checkpoint)
        metrics, _ = made.test([stop])
    return metrics
