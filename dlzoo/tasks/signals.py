"""Ctrl-C, SIGTERM and SIGUSR1 end a training after the current step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlzoo.errors import Interrupted
from dlzoo.tasks.task import Task


@contextmanager
def stop_on_signals(task: Task) -> Iterator[None]:
    """Inside, a signal sets a flag that each step looks at; a second Ctrl-C ends the training at once.

    Outside the main thread nothing is changed: whoever runs us there looks after signals.
    """

    def stop(number: int, frame: Any) -> None:
        if task.stop_requested and number == signal.SIGINT:
            raise Interrupted("stopped at once")
        task.stop_requested = True

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            before[number] = signal.signal(number, stop)
    except ValueError:
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
