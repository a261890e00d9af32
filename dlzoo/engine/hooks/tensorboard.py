"""TensorBoard's event file in the run directory."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from dlzoo.core.registries import HOOKS
from dlzoo.engine.hooks.hook import Hook, HookStart, Record
from dlzoo.runs.differences import flatten
from dlzoo.runs.logged import metrics_of


class TensorBoard(Hook):
    """Writes scalars, plots and hyperparameters as they are logged."""

    def fit_start(self, start: HookStart) -> None:
        self.config = start.config
        # Events of this step are discarded too: the results and plots of a test that was killed.
        self.board = SummaryWriter(str(start.run_dir), purge_step=start.step)
        for record in start.records:
            if start.reused or record["step"] == start.step:
                self.log(record)

    def log(self, record: Record) -> None:
        # One event for all scalars; add_scalar would write one for each.
        values = [(name, value) for name, value in metrics_of(record).items() if value is not None]
        self._write([Summary.Value(tag=name, simple_value=value) for name, value in values], record["step"])

    def plot(self, name: str, path: Path, step: int) -> None:
        # The bytes of the file: add_figure would draw the figure again.
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # of the PNG's header
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
        self._write([Summary.Value(tag=name, image=image)], step)

    def fit_end(self, metrics: Mapping[str, float]) -> None:
        settings = flatten(self.config)
        flat = {key: value if isinstance(value, (int, float, bool)) else str(value) for key, value in settings.items()}
        for summary in hparams(flat, dict(metrics)):
            self._writer().add_summary(summary)
        self.board.close()

    def exception(self, error: BaseException) -> None:
        self.board.close()

    def _write(self, values: list[Any], step: int) -> None:
        self._writer().add_summary(Summary(value=values), step)

    def _writer(self) -> Any:
        writer = self.board.file_writer
        assert writer is not None
        return writer


@HOOKS.register("tensorboard", source="TensorBoard 2.20: event files")
def tensorboard() -> Hook:
    """Scalars, plots and hyperparameters for TensorBoard: events.out.tfevents.* in the run directory."""
    return TensorBoard()
