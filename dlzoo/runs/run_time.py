"""Measure how long a run takes, and whether other processes used the machine meanwhile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

#: Linux: how long each processor was idle, or busy with what, since the start of the machine.
_PROC_STAT = Path("/proc/stat")

#: Places of the busy times in a line of it: user, nice, system, irq, softirq, steal (by another virtual machine). The
#: other fields are idle times, or are counted in these.
_BUSY = (0, 1, 2, 5, 6, 7)


class RunTime:
    """The time of a run, including that of its earlier processes.

    Args:
        before: the run.json at the start, whose `wall_seconds` and `others_busy` are continued.
        ranks: processes of the run on this machine; each is assumed to use as much processor time as this one.
        stat: the file of the processors' times; elsewhere than on Linux there is none.
    """

    def __init__(self, before: Mapping[str, Any], ranks: int = 1, stat: Path = _PROC_STAT) -> None:
        self._before, self._ranks, self._stat = before, ranks, stat
        self._started, self._busy, self._own = perf_counter(), self._read_busy(), _own_seconds()

    def fields(self) -> dict[str, float | None]:
        """Return the fields of run.json.

        - wall_seconds: seconds so far.
        - others_busy: the mean share of the machine's processors that other processes used, from 0 to 1; None where it
          is not known.
        """
        here, earlier = perf_counter() - self._started, self._before.get("wall_seconds") or 0.0
        others, known = self._others(here), self._before.get("others_busy")
        if earlier and others is not None:
            others = None if known is None else (known * earlier + others * here) / (earlier + here)
        return {"wall_seconds": earlier + here, "others_busy": others}

    def _others(self, seconds: float) -> float | None:
        busy = self._read_busy()
        if busy is None or self._busy is None or busy[0] <= self._busy[0] or seconds <= 0:
            return None
        own = self._ranks * (_own_seconds() - self._own)
        return min(max((busy[0] - self._busy[0] - own) / (busy[1] * seconds), 0.0), 1.0)

    def _read_busy(self) -> tuple[float, int] | None:
        """Return (the seconds that all processors were busy, their number); None if it cannot be read."""
        try:
            first, *lines = self._stat.read_text().splitlines()
            times = [int(field) for field in first.split()[1:]]
            ticks = sum(times[place] for place in _BUSY)
        except (OSError, ValueError, IndexError):
            return None
        processors = sum(line.startswith("cpu") for line in lines)
        return (ticks / os.sysconf("SC_CLK_TCK"), processors) if processors else None


def _own_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
