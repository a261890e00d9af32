"""`dlzoo eval`: a finished run's numbers again, from its checkpoint."""

from __future__ import annotations

from dlzoo.assembly import Assembled
from dlzoo.config import read
from dlzoo.errors import UserError
from dlzoo.runs.run_dir import RunDir


def evaluate(path: str) -> dict[str, float]:
    """The test metrics of the run at `path`: {"test/accuracy": ...}.

    Raises:
        UserError: if it is no run, has no checkpoint, or its data has changed.
    """
    run = RunDir.open(path)
    config = read(run.config_file) | {"init_from": None}  # the checkpoint has the weights
    if not run.last_checkpoint.exists():
        raise UserError(f"{path}: the run has no checkpoint yet (it is {run.read()['state']})")
    made = Assembled(config)
    if run.read().get("data_fingerprint") != made.data.fingerprint:
        raise UserError(f"{path}: the data is not what the run was trained on")
    made.select(run)
    return made.test()
