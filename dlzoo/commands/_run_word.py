"""Find the word that names a run, for the commands that use one."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo.core.errors import UserError
from dlzoo.runs import kept_parts
from dlzoo.runs.run_dir import RunDir


def split_run(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return (the run directory, the other words); the run is named by run=DIR, or by the first word.

    Raises:
        UserError: if there is none, or more than one run=DIR.
    """
    named = [word for word in words if word.startswith("run=")] or [*words[:1]]
    path = named[0].removeprefix("run=") if len(named) == 1 else ""
    if not path:
        raise UserError("name one run: run=DIR")
    return path, [word for word in words if word is not named[0]]


def trust_parts(path: str) -> None:
    """Record that the parts files in a run directory may be imported."""
    run = RunDir.open(path)
    kept_parts.trust_kept(run.path, run.read())
