"""Check that the run directories on disk are those of a sweep."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.files import reason
from dlzoo.runs.differences import flatten, format_value
from dlzoo.runs.kept_parts import refuse_others
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.plan import PlannedRun

#: Most differences that an error lists.
_FEW = 6


def existing_states(runs: Sequence[PlannedRun], free: str = "another name= or sweep.dir=") -> dict[str, str]:
    """Return address -> state of the runs that exist already.

    Args:
        free: what to set for another folder, for the message.

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
                if other := describe_differences(flatten(record["config"]), flatten(run.config)):
                    raise UserError(f"{run.path} holds a run with other settings ({other}); set {free}")
                refuse_others(run.path, record, run.config)
                states[run.path.name] = record["state"]
    except OSError as error:
        raise UserError(f"{folder}: {reason(error)}") from error
    return states


def describe_differences(there: Config, here: Config) -> str:
    """Return "data.batch_size=8 there, 64 here", the first few differences of settings; an empty string without any."""
    other = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    some = [f"{key}={format_value(there.get(key))} there, {format_value(here.get(key))} here" for key in other[:_FEW]]
    return ", ".join([*some, *([f"{len(other) - _FEW} more"] if len(other) > _FEW else [])])
