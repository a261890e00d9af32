"""`dlzoo eval`: a run's test numbers again, from its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dlzoo.builder import plots
from dlzoo.builder.profile import without_weights
from dlzoo.builder.trainer import Assembled
from dlzoo.config import changed, read
from dlzoo.core.errors import UserError
from dlzoo.engine.signals import signals
from dlzoo.runs.run_dir import RunDir, write_atomically
from dlzoo.tasks.detection.module import said

#: What may be other than it was in training: it touches the tested images only, or what is made of the answers.
CONDITIONS = ("data.test_shift", "data.test_severity", "augment.test", "nms")


def evaluate(path: str, conditions: Sequence[str] = ()) -> dict[str, float]:
    """The test metrics of the run at `path`: {"test/accuracy": ...}, on whatever device is here.

    Of a detector every box that is found goes to detections.json in `folder`, with pictures.

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
        metrics, outputs = made.test([stop])
    if made.data.task == "detect":
        _write(made, metrics, outputs, folder(path, conditions))
    return metrics


def folder(path: str, conditions: Sequence[str] = ()) -> Path:
    """Where the run's pictures under these conditions are: `eval` in its folder, or below that."""
    return Path(path, "eval", ",".join(sorted(conditions)))


def _write(made: Assembled, metrics: dict[str, float], outputs: Sequence[Tensor], folder: Path) -> None:
    """The numbers, every box by the number of its picture in the test split, and the pictures of them."""
    every = [{"image": place, "objects": said(rows, made.data.classes)} for place, rows in enumerate(outputs[0])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        write_atomically(folder / "detections.json", json.dumps(every) + "\n")
        for name, figure in plots.of_objects(made, outputs).items():
            figure.savefig(folder / f"{name}.png", dpi=120)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error})") from error
