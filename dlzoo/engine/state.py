"""What a checkpoint says of how far a run is, beside its weights."""

from __future__ import annotations

from typing import Any, NamedTuple


class Best(NamedTuple):
    """The best validation score, the step that reached it first, and the last that equalled it.

    Of equal epochs the later one is selected: it has learnt for longer.
    """

    score: float
    reached: int
    clock: int

    @classmethod
    def after(cls, best: Best | None, score: float, clock: int) -> Best:
        if best is None or score > best.score:
            return cls(score, clock, clock)
        return best._replace(clock=clock) if score == best.score else best


def at_epoch_start(epoch: int) -> dict[str, Any]:
    """What Lightning's loops are to know when `epoch` epochs are done and nothing of the next one.

    Lightning counts ranges where we count steps, and its way to resume inside an epoch depends on where in an epoch it
    saved; so a checkpoint always says "at the start of an epoch", and the loader starts where the clock stands.
    """
    done = dict.fromkeys(("ready", "started", "processed", "completed"), epoch)
    return {"fit_loop": {"epoch_progress": {"total": done, "current": done}}}
