"""Signal handlers: Ctrl-C, SIGTERM and SIGUSR1 stop a run after a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytorch_lightning as pl

from dlzoo.core.errors import Interrupted

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stop(pl.Callback):
    """Signal handler: stop a run, or raise Interrupted.

    Inside `listening` a signal calls `on_request`; a Ctrl-C after an earlier signal raises at once. Elsewhere a signal
    raises. As a trainer callback it reinstalls itself after Lightning, whose own handler would wait for the other ranks
    wherever the signal happens to arrive.
    """

    def __init__(self) -> None:
        self._on_request: Callable[[], None] | None = None
        self._requested = False

    @contextmanager
    def listening(self, on_request: Callable[[], None]) -> Iterator[None]:
        """Call `on_request` for a signal inside the context; a Ctrl-C after an earlier signal raises at once."""
        self._on_request = on_request
        try:
            yield
        finally:
            self._on_request = None

    def __call__(self, number: int, frame: Any) -> None:
        again = self._requested and number == signal.SIGINT
        self._requested = True
        if self._on_request is None or again:
            raise Interrupted("stopped at once" if again else "stopped")
        self._on_request()

    def check(self) -> None:
        """Raise if a signal arrived: Python drops an exception that a handler raises inside a finaliser.

        Raises:
            Interrupted: if a signal arrived.
        """
        if self._requested:
            raise Interrupted("stopped")

    def install(self) -> dict[int, Any]:
        """Install this handler and return the previous handlers.

        Outside the main thread nothing is changed: Python allows signal handlers in the main thread only.
        """
        with suppress(ValueError):
            return {number: signal.signal(number, self) for number in _NUMBERS}
        return {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.install()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.install()


@contextmanager
def catch_signals() -> Iterator[Stop]:
    """Handle the three signals with the yielded Stop inside the context."""
    stop = Stop()
    before = stop.install()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
