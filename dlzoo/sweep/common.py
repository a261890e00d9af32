"""Check that a sweep has the common settings of the sweep whose folder it would continue."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo import config as configs
from dlzoo.config.overrides import key_of
from dlzoo.core.errors import UserError
from dlzoo.runs import sweep_file
from dlzoo.runs.differences import NOT_COMPARED, flatten
from dlzoo.sweep.check import describe_differences
from dlzoo.sweep.existing import free_name
from dlzoo.sweep.plan import SweepPlan
from dlzoo.sweep.request import SweepRequest


def refuse_other_common(request: SweepRequest, planned: SweepPlan) -> None:
    """Check the settings that all runs have in common against those in sweep.json.

    A setting that varied there may have any value here. One that was common may vary now if the old value is among
    the new ones, as its runs are part of this sweep then.

    Raises:
        UserError: if they differ, with the differences and a name that is free.
    """
    there = sweep_file.read(planned.folder)
    if there.common is None:
        return
    varied = {*planned.varying, *there.order}
    old = [line for line in there.common if key_of(line) not in varied]
    replaced = {key_of(line) for line in (*old, *planned.common)} - varied
    first = planned.runs[0]
    lines = [*old, *(line for line in first.overrides if key_of(line) not in replaced)]
    try:
        config = configs.compose(lines, in_sweep=True, written=request.written, state=configs.conf_state())
        differences = describe_differences(flatten(config), flatten(first.config))
    except UserError:  # the settings there do not go together with those that vary now
        differences = _as_typed(old, planned.common)
    dropped = [line for line in there.common if key_of(line) in planned.varying and not _is_among(line, planned)]
    differences = ", ".join(filter(None, [differences, *(f"{line} there, not here" for line in dropped)]))
    if differences:
        free = free_name(planned.folder, in_outputs=not planned.settings.dir)
        raise UserError(f"{planned.folder} holds a sweep with other common settings ({differences}); set {free}")


def _is_among(line: str, planned: SweepPlan) -> bool:
    return any(line in run.overrides for run in planned.runs)


def _as_typed(old: Sequence[str], new: Sequence[str]) -> str:
    compared = [line for line in new if key_of(line).partition(".")[0] not in NOT_COMPARED]
    return f"{' '.join(old) or 'none'} there, {' '.join(compared) or 'none'} here"
