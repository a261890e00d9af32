"""Log of a run: scalars in metrics.jsonl and TensorBoard's event file, plots in pictures/ and the event file."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from dlzoo.core.checksum import add_record
from dlzoo.core.errors import Note
from dlzoo.core.files import write_atomically
from dlzoo.runs.figures import write_png
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir, replace_non_finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Fields of a record that are not metrics.
_NO_SCALARS = ("step", "epoch", "time")


class MetricLog:
    """Appends to the logs of a run.

    Args:
        run: the run directory.
        step: number of completed steps; records of later steps, written before a kill, are dropped.
        logged: number of records that were logged up to this step, and their checksum, if they are known.
        copied: whether metrics.jsonl was copied from another run, and must be added to TensorBoard.
    """

    def __init__(self, run: RunDir, step: int, *, logged: tuple[int, int] | None = None, copied: bool = False) -> None:
        self.run = run
        # A resumed run is tested again.
        records = [
            record
            for record in read_metrics(run.metrics_file, strict=True)
            if record["step"] <= step and not any(name.startswith("test/") for name in record)
        ]
        if logged is not None and (changed := _describe_change(records, *logged)):
            warnings.warn(f"{run.metrics_file}: {changed} up to step {step}", Note, stacklevel=2)
        write_atomically(run.metrics_file, "".join(json.dumps(record) + "\n" for record in records))
        self._lines = run.metrics_file.open("a", buffering=1)
        # Events of this step are discarded too: the results and plots of a test that was killed.
        self.board = SummaryWriter(str(run.path), purge_step=step)
        for record in records if copied else [record for record in records if record["step"] == step]:
            self._events(record["step"], _values(record))

    def scalars(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """Write one record: {"step": .., "epoch": .., "time": .., "train/loss": ..}."""
        record = {"step": step, "epoch": round(epoch, 4), "time": round(time.time(), 3)} | values
        self._lines.write(json.dumps(replace_non_finite(record)) + "\n")
        self._events(step, values)

    def _events(self, step: int, values: dict[str, float]) -> None:
        # One event for all scalars; add_scalar would write one for each.
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if value is not None]
        self._write(scalars, step)

    def _write(self, values: list[Any], step: int) -> None:
        writer = self.board.file_writer
        assert writer is not None
        writer.add_summary(Summary(value=values), step)

    def plot(self, name: str, figure: Figure, step: int) -> Path:
        """Write a figure as pictures/<name>.png and to TensorBoard, and return its path."""
        self.run.pictures.mkdir(exist_ok=True)
        path = self.run.pictures / f"{name}.png"
        width, height = write_png(figure, path)
        # The bytes of the file: add_figure would draw the figure again.
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=path.read_bytes())
        self._write([Summary.Value(tag=name, image=image)], step)
        return path

    def hyperparameters(self, settings: dict[str, Any], metrics: dict[str, float]) -> None:
        """Write a row of TensorBoard's HParams table."""
        flat = {key: value if isinstance(value, (int, float, bool)) else str(value) for key, value in settings.items()}
        writer = self.board.file_writer
        assert writer is not None
        for summary in hparams(flat, metrics):
            writer.add_summary(summary)

    def close(self) -> None:
        self._lines.close()
        self.board.close()


def _values(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in _NO_SCALARS}


def _describe_change(records: Sequence[dict[str, Any]], logged: int, checksum: int) -> str:
    """Describe how records differ from those that were logged; "" if they do not."""
    if len(records) < logged:
        return f"{logged - len(records)} of the {logged} records are missing, so that the curves have gaps,"
    found = 0
    for record in records:
        found = add_record(found, record["step"], _values(record))
    return "" if found == checksum else "records were changed after they were logged, so that the curves are others,"
