"""Notes at the end of a run: a network that learned nothing, and a best epoch that stands out by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist, median
from typing import Any

from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir

#: Fewest validations of which one can be called a peak.
_FEWEST = 6
#: Probability that chance alone makes the best of all validations stand out more.
_ALPHA = 0.05


def result_notes(module: TaskModule, records: Sequence[Mapping[str, Any]], selected_step: int | None) -> dict[str, str]:
    """Return the notes on a tested run, by kind: "learned_nothing" and "lonely_best".

    Args:
        module: after its test.
        records: the logged scalars.
        selected_step: the step of the validation that selected the weights; None if none did.
    """
    notes, reason = {}, module.tested.learned_nothing()
    if reason is not None:
        notes["learned_nothing"] = f"the network learned nothing: {reason}"
    if selected_step is not None and (peak := _lonely_peak(module, records, selected_step)) is not None:
        notes["lonely_best"] = peak
    return notes


def selecting_step(run: RunDir, selected: Mapping[str, Any]) -> int | None:
    """Return the step of the validation that selected the weights with the state `selected`; None if none did."""
    chosen_here = run.selected_checkpoint() == run.best_checkpoint and "training_taken" not in run.read()
    return selected["clock"] if chosen_here else None


def _lonely_peak(module: TaskModule, records: Sequence[Mapping[str, Any]], step: int) -> str | None:
    key, val, monitor = f"val/{module.monitor}", module.loaders.val, module.recipe.monitor
    series = {record["step"]: record[key] for record in records if isinstance(record.get(key), (int, float))}
    if val is None or step not in series:
        return None
    sign = 1.0 if monitor is None or monitor.higher_is_better else -1.0

    def error(score: float) -> float | None:
        return module.tested.standard_error(module.monitor, sign * score, val.samples)

    middle = lonely_best([sign * value for value in series.values()], list(series).index(step), error)
    if middle is None:
        return None
    return (
        f"the best validation ({module.monitor} {series[step]:.3f}, n={val.samples:,}, epoch"
        f" {module.schedule.epochs_at(step):g}) is a lonely peak: the median of the others is {sign * middle:.3f},"
        " and so few samples show such a peak by chance; a larger validation split selects better"
    )


def lonely_best(values: Sequence[float], best: int, error: Callable[[float], float | None]) -> float | None:
    """Return the median of the other validations if the best one is a lonely peak that chance explains, else None.

    - It is lonely if it exceeds every other validation by more than a standard error of a value measured on that many
      samples. A rise or a fall over several epochs has no such peak, and the last validation is none, as it may be
      part of a rise. The plateau of a usual run has none either: the same samples are validated again and again, and
      the best values are close to each other.
    - Chance explains it if it exceeds the median of the others, from the first third on, by less than the best of so
      many independent measurements of that median would in one of 20 cases (Sidak's correction of the normal
      quantile for the number of validations). A higher peak is real, as before a divergence.

    Args:
        values: the validations, larger is better.
        best: the index of the selected one.
        error: value -> its standard error; None where it is not known.
    """
    if len(values) < _FEWEST or not 0 < best < len(values) - 1:
        return None
    second, start = max((*values[:best], *values[best + 1 :])), len(values) // 3
    middle = median(value for place, value in enumerate(values) if place >= start and place != best)
    one = error(middle)
    if one is None or values[best] - second <= one:
        return None
    limit = NormalDist().inv_cdf((1 - _ALPHA) ** (1 / len(values)))
    return middle if values[best] - middle <= limit * one else None
