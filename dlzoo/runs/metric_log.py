"""Log of a run: scalars in metrics.jsonl, plots in pictures/; hooks are told of each record."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlzoo.core.checksum import add_record
from dlzoo.core.errors import Note
from dlzoo.core.files import write_atomically
from dlzoo.runs.figures import write_png
from dlzoo.runs.logged import metrics_of, read_metrics
from dlzoo.runs.run_dir import RunDir, replace_non_finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class MetricLog:
    """Appends to the logs of a run. `records` has what was logged before.

    Args:
        run: the run directory.
        step: number of completed steps; records of later steps, written before a kill, are dropped.
        logged: number of records that were logged up to this step, and their checksum, if they are known.
        listener: called with each record after it is written; its numbers may be infinite or NaN.
    """

    def __init__(
        self,
        run: RunDir,
        step: int,
        *,
        logged: tuple[int, int] | None = None,
        listener: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        self.run, self._listener = run, listener
        # A resumed run is tested again.
        self.records = [
            record
            for record in read_metrics(run.metrics_file, strict=True)
            if record["step"] <= step and not any(name.startswith("test/") for name in record)
        ]
        if logged is not None and (changed := _describe_change(self.records, *logged)):
            warnings.warn(f"{run.metrics_file}: {changed} up to step {step}", Note, stacklevel=2)
        write_atomically(run.metrics_file, "".join(json.dumps(record) + "\n" for record in self.records))
        self._lines = run.metrics_file.open("a", buffering=1)

    def scalars(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """Write one record: {"step": .., "epoch": .., "time": .., "train/loss": ..}."""
        record = {"step": step, "epoch": round(epoch, 4), "time": round(time.time(), 3)} | values
        self._lines.write(json.dumps(replace_non_finite(record)) + "\n")
        self._listener(record)

    def plot(self, name: str, figure: Figure) -> Path:
        """Write a figure as pictures/<name>.png, and return its path."""
        self.run.pictures.mkdir(exist_ok=True)
        path = self.run.pictures / f"{name}.png"
        write_png(figure, path)
        return path

    def close(self) -> None:
        self._lines.close()


def _describe_change(records: Sequence[dict[str, Any]], logged: int, checksum: int) -> str:
    """Describe how records differ from those that were logged; "" if they do not."""
    if len(records) < logged:
        return f"{logged - len(records)} of the {logged} records are missing, so that the curves have gaps,"
    found = 0
    for record in records:
        found = add_record(found, record["step"], metrics_of(record))
    return "" if found == checksum else "records were changed after they were logged, so that the curves are others,"
