"""Curves of a run: every scalar in metrics.jsonl and in TensorBoard's event file, pictures in both places."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from dlzoo.runs.run_dir import RunDir, strict, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class MetricLog:
    """Appends to the logs of a run.

    Args:
        run: where.
        step: steps that are done; what the files hold of later steps, written before a kill, is dropped.
    """

    def __init__(self, run: RunDir, step: int) -> None:
        self.run = run
        records = [record for record in read_metrics(run.metrics_file) if record["step"] <= step]
        write_atomically(run.metrics_file, "".join(json.dumps(record) + "\n" for record in records))
        self._lines = run.metrics_file.open("a", buffering=1)
        self.board = SummaryWriter(str(run.path), purge_step=step + 1 if step else None)

    def scalars(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """One record: {"step": .., "epoch": .., "time": .., "train/loss": ..}."""
        record = {"step": step, "epoch": round(epoch, 4), "time": round(time.time(), 3)} | values
        self._lines.write(json.dumps(strict(record)) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def picture(self, name: str, figure: Figure, step: int) -> Path:
        """A figure, as pictures/<name>.png and in TensorBoard."""
        self.run.pictures.mkdir(exist_ok=True)
        path = self.run.pictures / f"{name}.png"
        figure.savefig(path, dpi=120)
        self.board.add_figure(name, figure, step)
        return path

    def hyperparameters(self, settings: dict[str, Any], metrics: dict[str, float]) -> None:
        """A row of TensorBoard's HParams table."""
        flat = {key: value if isinstance(value, (int, float, bool)) else str(value) for key, value in settings.items()}
        writer = self.board.file_writer
        assert writer is not None
        for summary in hparams(flat, metrics):
            writer.add_summary(summary)

    def close(self) -> None:
        self._lines.close()
        self.board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; a last line that a kill cut short is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
