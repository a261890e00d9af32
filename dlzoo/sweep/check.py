"""Check that the run directories on disk are those of a sweep."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.files import reason
from dlzoo.runs.differences import flatten, format_value
from dlzoo.runs.own_parts import refuse_others
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.plan import PlannedRun

#: Most differences that an error lists.
_FEW = 6


def existing_states(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Return address -> state of the runs that exist already.

    Raises:
        UserError: if something else is at an address, or a run with other settings.
    """
    folder, states = runs[0].path.parent, {}
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise UserError(f"{folder}: the runs would be written here, but it is not a folder")
        for run in runs:
            if run.path.exists():
                record = RunDir.open(run.path).read()
                _refuse_another(run, flatten(record["config"]), flatten(run.config))
                refuse_others(run.path, record, run.config)
                states[run.path.name] = record["state"]
    except OSError as error:
        raise UserError(f"{folder}: {reason(error)}") from error
    return states


def _refuse_another(run: PlannedRun, existing: Config, planned: Config) -> None:
    other = [key for key in {**existing, **planned} if existing.get(key) != planned.get(key)]
    if other:
        some = [
            f"{key}={format_value(existing.get(key))} there, {format_value(planned.get(key))} here"
            for key in other[:_FEW]
        ]
        differences = ", ".join([*some, *([f"{len(other) - _FEW} more"] if len(other) > _FEW else [])])
        raise UserError(f"{run.path} holds a run with other settings ({differences}); set another name= or sweep.dir=")
