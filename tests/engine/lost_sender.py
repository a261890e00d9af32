"""A logger whose server is gone."""

import time
from collections.abc import Sequence
from typing import Any

from dlzoo.engine.hooks.hook import Record
from dlzoo.engine.hooks.sender import FollowedRun, Sender


class LostSender(Sender):
    """Send nothing, or wait for ever."""

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs

    def open(self, run: FollowedRun, memory: dict[str, Any]) -> None:
        pass

    def send(self, records: Sequence[Record]) -> None:
        while self.hangs:
            time.sleep(1)
        raise ConnectionRefusedError("no route to host")
