"""What a logger implements to send the records of a run to one place. The module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlzoo.engine.hooks.hook import Record


@dataclass(frozen=True)
class FollowedRun:
    """What a sender knows of a run.

    Args:
        dir: the run directory.
        name: the name of its sweep, `name` in the config; "" if it has none.
        settings: its settings, flat as in "norm.num_groups".
    """

    dir: Path
    name: str
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The name of the run directory, with that of its sweep: "norms/norm=bn,seed=0"."""
        return f"{self.name}/{self.dir.name}" if self.name and self.dir.parent.name == self.name else self.dir.name


class Sender:
    """Sends records to one place. A subclass takes its settings as arguments. Any method may raise any exception.

    `memory` is kept in the run directory: what a method stores in it is there when the run resumes.
    """

    def starts_over(self, memory: dict[str, Any]) -> bool:
        """Return whether all records are sent again when a run resumes, to a place that `open` makes empty."""
        return False

    def open(self, run: FollowedRun, memory: dict[str, Any]) -> None:
        """Begin, or continue what was begun before."""
        raise NotImplementedError

    def has(self, record: Record) -> bool:
        """Return whether a record was sent already, just before a kill: State.last does not count it then."""
        return False

    def send(self, records: Sequence[Record]) -> None:
        """Send some records. It is repeated after an error."""
        raise NotImplementedError

    def close(self, state: str, metrics: Mapping[str, float]) -> None:
        """Mark the run as finished, failed, interrupted or killed; the final metrics are known if it is finished."""
