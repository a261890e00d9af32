"""Ctrl-C, SIGTERM and SIGUSR1."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dlzoo.errors import Interrupted


class Stop:
    """What a signal does: it calls `on_request` where somebody listens, and raises Interrupted where nobody does.

    A second Ctrl-C raises in any case.
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


@contextmanager
def signals() -> Iterator[Stop]:
    """Inside, the three signals go to the Stop that is yielded.

    Outside the main thread nothing is changed: whoever runs us there looks after signals.
    """
    stop, before = Stop(), {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            before[number] = signal.signal(number, stop)
    except ValueError:
        pass
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
