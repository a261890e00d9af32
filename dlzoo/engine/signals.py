"""Ctrl-C, SIGTERM and SIGUSR1."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytorch_lightning as pl

from dlzoo.core.errors import Interrupted

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stop(pl.Callback):
    """What a signal does: it calls `on_request` where somebody listens, and raises Interrupted where nobody does.

    A second Ctrl-C raises in any case. As a callback of a trainer it takes the signals back from Lightning, whose own
    handler would wait for the other ranks wherever a signal happens to find us.
    """

    def __init__(self) -> None:
        self._on_request: Callable[[], None] | None = None
        self._requested = False

    @contextmanager
    def listening(self, on_request: Callable[[], None]) -> Iterator[None]:
        """Inside, the first signal calls `on_request`."""
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
        """Stop here if somebody asked for it: Python drops what a handler raises inside a finaliser.

        Raises:
            Interrupted: if there was a signal.
        """
        if self._requested:
            raise Interrupted("stopped")

    def take(self) -> dict[int, Any]:
        """Let the signals come here; what they did before.

        Outside the main thread nothing is changed: whoever runs us there looks after signals.
        """
        with suppress(ValueError):
            return {number: signal.signal(number, self) for number in _NUMBERS}
        return {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.take()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.take()


@contextmanager
def signals() -> Iterator[Stop]:
    """Inside, the three signals go to the Stop that is yielded."""
    stop = Stop()
    before = stop.take()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
