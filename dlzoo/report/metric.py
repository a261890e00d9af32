"""Choose the metric and the margin of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dlzoo.core import entries, index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.report.content import Metric
from dlzoo.report.numbers import one_line
from dlzoo.runs.sweep_file import SweepFile
from dlzoo.runs.table import Row


def compared_metric(rows: Sequence[Row], name: str | None) -> Metric:
    """Return the metric called `name`; for None, the test value of the metric that most runs monitored.

    Raises:
        UserError: for a metric that no run has.
    """
    finished = [row.record for row in rows if row.state == "finished"]
    known = dict.fromkeys(key for record in finished for key in record.get("metrics") or {})
    key = name or f"test/{Counter(record.get('monitor') for record in finished).most_common(1)[0][0]}"
    if f"test/{key}" in known:
        key = f"test/{key}"
    if key not in known:
        raise UserError(f"no finished run has measured {key} (--metric); {did_you_mean(key, known)}")
    return Metric(key, name_of(key), _entry(key).higher_is_better)


def name_of(key: str) -> str:
    """Return the plain name of a metric of a split: "validation mean IoU" for "val/miou"."""
    split = key.partition("/")[0]
    return one_line(f"{ {'val': 'validation', 'train': 'training'}.get(split, split) } {_entry(key).plain_name}")


def _entry(key: str) -> entries.Metric:
    """Return what is known of a metric; of an unknown one only its name."""
    name = key.partition("/")[2]
    return index.metrics().get(name, entries.Metric(name))


def margin_of(margin: float | None, planned: SweepFile, metric: Metric) -> float | None:
    """Return the margin: the given one, the planned one, or the default of the metric."""
    if margin is not None or planned.margin is not None:
        return planned.margin if margin is None else margin
    return _entry(metric.key).margin
