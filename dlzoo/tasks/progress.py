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


def at_epoch_start(loop: dict[str, Any], epoch: int) -> dict[str, Any]:
    """The state of Lightning's fit loop when `epoch` epochs are done and nothing of the next one.

    Lightning counts ranges where we count steps, and its way to resume inside an epoch depends on where in an epoch it
    saved; so a checkpoint always says "at the start of an epoch", and the loader starts where the clock stands.
    """

    def reset(state: Any, path: str) -> Any:
        if isinstance(state, dict):
            return {key: reset(value, f"{path}.{key}") for key, value in state.items()}
        if isinstance(state, bool):
            return False
        if isinstance(state, int):
            return epoch if path.startswith(".epoch_progress") else 0
        return state

    return reset(loop, "")
