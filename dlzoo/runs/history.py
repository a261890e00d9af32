"""The logged scalars of a run as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dlzoo.runs.logged import PLACE, metrics_of

if TYPE_CHECKING:
    import numpy as np


def as_columns(records: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return step (int64), epoch, time and each scalar (float64) as arrays, one value a step, NaN where there is none.

    Records of one step, of its training and of the validation after it, become one row.
    """
    import numpy as np  # not needed to open a run

    rows: list[dict[str, Any]] = []
    for record in records:
        if rows and rows[-1]["step"] == record["step"] and not metrics_of(rows[-1]).keys() & metrics_of(record).keys():
            rows[-1] |= record
        else:
            rows.append(dict(record))
    names = dict.fromkeys((*PLACE, *(name for row in rows for name in row)))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return {
        name: np.array(
            [np.nan if value is None else value for value in values], np.int64 if name == "step" else np.float64
        )
        for name, values in columns.items()
    }
