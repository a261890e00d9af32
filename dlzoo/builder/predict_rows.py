"""Rows of a table as the network of a run takes them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dlzoo.builder.compatibility import load_data
from dlzoo.builder.locate import locate
from dlzoo.config import read
from dlzoo.core.errors import Note, UserError
from dlzoo.data.split import Split
from dlzoo.data.splits import Splits
from dlzoo.data.table_rows import Cells, Rows, encode_rows
from dlzoo.data.transforms.batch import Normalise
from dlzoo.runs import kept_parts
from dlzoo.runs.run_dir import RunDir


@dataclass(frozen=True)
class RunRowPreprocess:
    """Rows of a table -> the input of a run's network, (N, F, 1, 1) float32 on the CPU.

    A run does not keep the preparation of its table (filling, scaling, encoding): it is fitted again, on the same
    training rows, when it is first used.

    Args:
        path: the run directory.
        places: settings that say where the data is now, if it was moved: data.path=moved.csv.
        normalise: features (N, F, 1, 1) -> the network's input.
    """

    path: Path
    places: Sequence[str]
    normalise: Normalise

    def __call__(self, rows: Rows) -> Tensor:
        """Return the network's input for an array (N, columns), a data frame, or a list of dictionaries.

        Raises:
            UserError: if they are not rows of the table that the run was trained on; if its data has changed.
        """
        data, cells = self._data
        assert data.prepare is not None
        coded = encode_rows(rows, data.source.table_columns(), cells)
        features = data.prepare(Split(coded, torch.zeros(len(coded), dtype=torch.int64))).images[:]
        with torch.no_grad():
            return self.normalise(features.permute(0, 3, 1, 2))

    @cached_property
    def _data(self) -> tuple[Splits, Cells]:
        run = RunDir.open(self.path)
        record = run.read()
        with kept_parts.using_kept(run.path, record), warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # notes on the data were given when the run was trained
            config = locate(read(run.config_file), record, self.places)
            data = load_data(config)
        if record.get("data_fingerprint") != data.fingerprint:
            raise UserError(f"{run.path}: the data has changed since the run was trained, and rows are prepared as its"
                            " training data; restore it, or train again")  # fmt: skip
        return data, Cells.of(config["data"])
