"""Loggers that follow metrics.jsonl from a process of their own, so that the training loop pays nothing for them.

The process (`follower.py`) is started by rank 0 as the training starts, and told when an epoch has ended. It ends after
this one, even if this one is killed, once it has sent the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlzoo.core.errors import Interrupted, Note
from dlzoo.engine.hooks.hook import Hook, HookStart
from dlzoo.runs.logged import read_metrics

#: Seconds after the end of a training in which a logger may send the rest.
LIMIT = 60.0
#: Seconds that a run that was stopped waits for its loggers, which go on without it.
_STOPPED = 5.0
#: The follower with the dlzoo package of this process, importing nothing from the current folder.
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from dlzoo.engine.hooks.follower import main; main()"

#: The folder in the run directory with the state and the output of each logger.
FOLDER = "hooks"

#: Followers that are still sending for a run that was stopped: kept, so that they can be reaped when they end.
_outliving: list[subprocess.Popen[bytes]] = []


class FollowerHook(Hook):
    """A logger whose process sends the records of metrics.jsonl at the ends of epochs.

    Args:
        name: name of the hook; hooks/<name>.json in the run directory has what was sent.
        sender: "module:class" of a `sender.Sender`; the module must not import torch.
        settings: arguments of the sender, as JSON values.
        limit: seconds in which the rest may be sent after the training.
    """

    def __init__(self, name: str, sender: str, settings: Mapping[str, Any], *, limit: float = LIMIT) -> None:
        self.name, self._limit = name, limit
        self._job = {"name": name, "sender": sender, "settings": settings, "limit": limit}

    def fit_start(self, start: HookStart) -> None:
        """Start the process. Its working folder is that of this process, which relative paths refer to."""
        _outliving[:] = [process for process in _outliving if process.poll() is None]
        folder = start.run_dir / FOLDER
        folder.mkdir(exist_ok=True)
        self._log, self._state = start.run_dir / "metrics.jsonl", folder / f"{self.name}.json"
        with (folder / f"{self.name}.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).parents[3])],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C ends the training, and then the follower after it
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        job = self._job | {"run_dir": str(start.run_dir.absolute())}
        os.write(self._pipe.fileno(), f"{json.dumps(job)}\n".encode())
        os.set_blocking(self._pipe.fileno(), False)  # a follower that hangs must not stop the training

    def epoch_end(self, step: int) -> None:
        self._tell("")

    def fit_end(self, metrics: Mapping[str, float]) -> None:
        self._end("finished", self._limit + 5)

    def exception(self, error: BaseException) -> None:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        self._end("interrupted" if stopped else "failed", _STOPPED)

    def _tell(self, word: str) -> None:
        # Full, if the follower hangs; closed, if it has ended. What was not sent is counted at the end.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe.fileno(), f"{word}\n".encode())

    def _end(self, state: str, seconds: float) -> None:
        """Wait until the rest is sent, for some seconds; then report what was not. It may be called again."""
        if not self._pipe.closed:
            self._tell(state)
            self._pipe.close()
            self._told = state
        elif self._process.poll() is not None:
            return  # an interruption after the end
        deadline = time.monotonic() + seconds
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        if self._process.poll() is None:
            if state != "finished":
                _outliving.append(self._process)
                return  # it goes on alone
            self._process.kill()
            self._process.wait()
        if text := self._missing(late=time.monotonic() >= deadline):
            warnings.warn(text, Note, stacklevel=2)

    def _missing(self, *, late: bool) -> str:
        """Return what was not sent and why, in one line; "" if everything was."""
        try:
            state = json.loads(self._state.read_text())
        except (OSError, ValueError):
            state = {}
        if state.get("ended") == self._told and not state.get("error"):
            return ""
        reason = state.get("error") or ("it took too long" if late else "its process ended")
        total = len(read_metrics(self._log))
        unsent = total - state.get("sent", 0)
        what = f"{unsent} of {total} records" if unsent > 0 else "the end of the run"
        return f"hook {self.name}: {what} could not be sent ({reason}); metrics.jsonl has every record"
