"""The clock of a run, counted in optimizer steps, and the ranges of steps that the loader yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class TrainSchedule:
    """When a run ends, validates, logs and saves, and the longest range it may run at once; all in optimizer steps.

    A run ends after `max_epochs` epochs or `max_steps` steps, whichever is first: its last epoch may be a part of one.
    It is validated every `validate_every_steps` steps, if given, otherwise every `validate_every_epochs` epochs, and at
    its end.
    """

    max_epochs: int
    steps_per_epoch: int
    log_every: int
    checkpoint_every: int | None = None
    longest: int | None = None
    max_steps: int | None = None
    validate_every_epochs: int = 1
    validate_every_steps: int | None = None
    keep_every: int | None = None

    @cached_property
    def steps(self) -> int:
        steps = self.max_epochs * self.steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    @property
    def epochs(self) -> int:
        """The number of epochs, counting a last one that is not complete."""
        return self.epochs_begun(self.steps)

    def epochs_begun(self, step: int) -> int:
        """Return the number of epochs that `step` steps make up, counting a last one that is not complete."""
        return -(-step // self.steps_per_epoch)

    def epochs_done(self, step: int) -> int:
        """Return the number of epochs that are over after `step` steps; the end of the run ends its last one."""
        return self.epochs if step == self.steps else step // self.steps_per_epoch

    def epochs_at(self, step: int) -> float:
        """Return `step` as a (fractional) number of epochs."""
        return step / self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Return whether an epoch, or the run, ends after `step` steps."""
        return step % self.steps_per_epoch == 0 or step == self.steps

    @cached_property
    def _between_validations(self) -> int:
        return self.validate_every_steps or self.validate_every_epochs * self.steps_per_epoch

    def validates(self, step: int) -> bool:
        """Return whether the network is validated after `step` steps."""
        return step % self._between_validations == 0 or step == self.steps

    def validations(self, step: int) -> int:
        """Return the number of validations in the first `step` steps, of a run that is not stopped before."""
        rest = step % self._between_validations
        return step // self._between_validations + (rest > 0 and step == self.steps)

    def logs(self, step: int) -> bool:
        """Return whether training metrics are logged after `step` steps."""
        return step % self.log_every == 0 or self.ends_epoch(step)

    def saves(self, step: int) -> bool:
        """Return whether a checkpoint is due after `step` steps, within an epoch."""
        return self.checkpoint_every is not None and step % self.checkpoint_every == 0

    def keeps(self, step: int) -> bool:
        """Return whether a copy of the checkpoint after `step` steps is kept: after every `keep_every`-th epoch."""
        return self.keep_every is not None and step % (self.keep_every * self.steps_per_epoch) == 0

    def name(self, step: int) -> str:
        """Return the name of a checkpoint after `step` steps: epoch_0010, or inside an epoch step_000123."""
        epoch, inside = divmod(step, self.steps_per_epoch)
        return f"step_{step:06d}" if inside else f"epoch_{epoch:04d}"

    def ranges(self, start: int) -> Iterator[range]:
        """Yield the rest of the epoch of `start`, split wherever something has to be done between two steps."""
        end = min((start // self.steps_per_epoch + 1) * self.steps_per_epoch, self.steps)
        while start < end:
            regular = (self.log_every, self.checkpoint_every, self.validate_every_steps, self.longest)
            stops = [(start // period + 1) * period for period in regular if period]
            stop = min(end, *stops)
            yield range(start, stop)
            start = stop


class Ranges:
    """The training "dataloader" that Lightning sees: it yields ranges of steps, from the current step on."""

    def __init__(self, schedule: TrainSchedule, clock: Callable[[], int]) -> None:
        self.schedule, self.clock = schedule, clock

    def __iter__(self) -> Iterator[range]:
        return self.schedule.ranges(self.clock())


class Indices:
    """The evaluation "dataloader": indices of batches."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))

    def __len__(self) -> int:
        return self.count
