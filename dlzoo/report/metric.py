"""Choose the metric and the margin of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.report.content import Metric
from dlzoo.runs.sweep_file import SweepFile
from dlzoo.runs.table import Row

#: Default margin, one percentage point, and the metrics that have it, which are fractions.
_DEFAULT_MARGIN, _FRACTIONS = 0.01, ("accuracy", "f1", "map", "ap")


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
    split, _, name = key.partition("/")
    known_metric = index.metrics().get(name)
    return Metric(key, f"{split} {name.replace('_', ' ')}", known_metric is None or known_metric.higher_is_better)


def margin_of(margin: float | None, planned: SweepFile, metric: Metric) -> float | None:
    """Return the margin: the given one, the planned one, or the default of the metric."""
    if margin is not None or planned.margin is not None:
        return planned.margin if margin is None else margin
    return _DEFAULT_MARGIN if metric.key.partition("/")[2].startswith(_FRACTIONS) else None
