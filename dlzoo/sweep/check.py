"""Whether what is on disk is what a sweep asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dlzoo.core.errors import UserError
from dlzoo.runs.differences import flat, format_value
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.plan import Config, Planned

#: Differences that an error lists.
_FEW = 6


def existing(runs: Sequence[Planned]) -> dict[str, str]:
    """address -> state, of those that are there already.

    Raises:
        UserError: if there is something else at an address, or a run with other settings.
    """
    folder, states = runs[0].path.parent, {}
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise UserError(f"{folder}: this is where the runs would lie, and it is no folder")
        for run in runs:
            if run.path.exists():
                record = RunDir.open(run.path).read()
                _refuse_another(run, flat(record["config"]), flat(run.config))
                states[run.path.name] = record["state"]
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    return states


def _refuse_another(run: Planned, there: Config, wanted: Config) -> None:
    other = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
    if other:
        some = [
            f"{key}={format_value(there.get(key))} there, {format_value(wanted.get(key))} here" for key in other[:_FEW]
        ]
        differences = ", ".join([*some, *([f"{len(other) - _FEW} more"] if len(other) > _FEW else [])])
        raise UserError(f"{run.path} holds a run with other settings ({differences}); say another name= or sweep.dir=")
