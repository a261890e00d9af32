"""The process of a logger: it follows metrics.jsonl and sends what is new when an epoch has ended.

It imports no torch. Its first line of input describes the job; then each empty line is the end of an epoch, and a word
the end of the training. The end of the input means that the process that trains has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import write_atomically
from dlzoo.engine.hooks.hook import Record
from dlzoo.engine.hooks.sender import FollowedRun, Sender
from dlzoo.runs.differences import flatten
from dlzoo.runs.lock import Lock
from dlzoo.runs.logged import parse_record

#: Characters of an error that are kept.
_LONGEST = 200
#: Records of one call of a sender.
_CHUNK = 400
#: Seconds between two attempts: the shortest after a success, and after the first and any failure.
_PAUSE, _FIRST_RETRY, _LAST_RETRY = 2.0, 5.0, 60.0
#: After the training, seconds between attempts, and in which there may be failed ones.
_FINAL_RETRY, _FINAL = 2.0, 8.0


def place_of(record: Mapping[str, Any]) -> list[int]:
    """Return what identifies a record, and increases: its step, and whether it is of training, validation or test.

    A resumed run logs the same records again, with other times.
    """
    kinds = [kind for kind, prefix in ((2, "test/"), (1, "val/")) if any(name.startswith(prefix) for name in record)]
    return [record["step"], kinds[0] if kinds else 0]


@dataclass
class State:
    """hooks/<name>.json: what was sent, and why the rest was not.

    Attributes:
        sent: number of records that were sent, in all processes of this run.
        last: `place_of` the last of them; [] if there is none.
        unsent: number of records that wait; None before the first attempt of a process.
        ended: the word with which the training ended, once the sender is closed.
        error: the last error, if the last attempt failed.
        memory: what the sender stored.
    """

    path: Path
    sent: int = 0
    last: list[int] = field(default_factory=list)
    unsent: int | None = None
    ended: str | None = None
    error: str | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> State:
        """Return the state that an earlier process of this hook left; a new one if there is none, or it is damaged."""
        try:
            return cls(path, **json.loads(path.read_text()) | {"unsent": None, "ended": None, "error": None})
        except (OSError, ValueError, TypeError):
            return cls(path)

    def write(self) -> None:
        content = {name: value for name, value in vars(self).items() if name != "path"}
        write_atomically(self.path, json.dumps(content, indent=1) + "\n")


class Lines:
    """The complete lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new(self) -> Iterator[str]:
        """Yield the lines since the last call."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line.decode(errors="replace")


class Follower:
    """Follows one run for one sender."""

    def __init__(self, run: FollowedRun, sender: Sender, state: State) -> None:
        self._run, self._sender, self._state = run, sender, state
        self._lines, self._queue = Lines(run.dir / "metrics.jsonl"), list[Record]()
        self._open, self._reading = False, True
        if sender.starts_over(state.memory):
            state.sent, state.last = 0, []

    def attempt(self) -> bool:
        """Send what is new; return whether all of it was sent."""
        try:
            self._read()
            if not self._open:
                self._sender.open(self._run, self._state.memory)
                self._state.write()
                while self._state.last and self._queue and self._sender.has(self._queue[0]):
                    self._note_sent(1)
                self._open = True
            while self._queue:
                chunk = self._queue[:_CHUNK]
                self._sender.send(chunk)
                self._note_sent(len(chunk))
            self._state.error = None
        except (Exception, SystemExit) as error:
            self._state.error = _describe(error)
            print(self._state.error, file=sys.stderr, flush=True)
        self._state.unsent = len(self._queue)
        self._state.write()
        return self._state.error is None

    def _read(self) -> None:
        for line in self._lines.new() if self._reading else ():
            record = parse_record(line)
            if record is not None and (not self._state.last or place_of(record) > self._state.last):
                self._queue.append(record)

    def _note_sent(self, count: int) -> None:
        self._state.last = place_of(self._queue[count - 1])
        self._state.sent += count
        del self._queue[:count]
        self._state.write()

    def end(self, state: str, patience: float = _FINAL) -> None:
        """Send the rest and close, or give up when attempts have failed for `patience` seconds."""
        deadline = time.monotonic() + patience
        sent = self.attempt()
        self._reading = False  # a resumed run may be writing to the file by now
        while not sent and time.monotonic() + _FINAL_RETRY < deadline:
            time.sleep(_FINAL_RETRY)
            sent = self.attempt()
        if self._state.error is None:
            try:
                self._sender.close(state, self._final_metrics() if state == "finished" else {})
                self._state.ended = state
            except (Exception, SystemExit) as error:
                self._state.error = _describe(error)
        self._state.write()

    def _final_metrics(self) -> dict[str, float]:
        metrics = json.loads((self._run.dir / "run.json").read_text()).get("metrics") or {}
        return {name: value for name, value in metrics.items() if value is not None}

    def give_up(self) -> None:
        """End this process, whatever it waits for."""
        self._state.error = self._state.error or "it took too long"
        self._state.unsent = len(self._queue)
        with suppress(OSError):
            self._state.write()
        os._exit(1)


def _describe(error: BaseException) -> str:
    """Return an error in one line; of a long one the ends, as the cause often comes last."""
    text = f"{type(error).__name__}: {first_line(error)}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


class Messages:
    """The words of the process that trains, line by line."""

    def __init__(self) -> None:
        self._parent, self._rest = os.getppid(), b""

    def first(self) -> str:
        """Return the first line."""
        while b"\n" not in self._rest:
            part = os.read(0, 65536)
            if not part:
                raise EOFError
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def wait(self, seconds: float | None = None) -> str | None:
        """Return the next word, "" for the end of an epoch, "killed" at the end of the input; None after `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = 5.0 if deadline is None else min(5.0, deadline - time.monotonic())
            if left <= 0:
                return None
            if select.select([0], [], [], left)[0]:
                part = os.read(0, 65536)
                if not part:
                    return "killed"
                self._rest += part
            elif os.getppid() != self._parent:  # a child of it may have kept the pipe open
                return "killed"
        *words, self._rest = self._rest.split(b"\n")
        return next((word.decode() for word in words if word), "")  # several epochs count as one


def follow(follower: Follower, messages: Messages, limit: float) -> None:
    """Send at the ends of epochs, and the rest at the end of the training."""
    allowed, retry = 0.0, _FIRST_RETRY
    follower.attempt()  # opens: an import or a connection takes seconds
    pending = False
    while True:
        wait = max(0.01, allowed - time.monotonic()) if pending else None
        word = messages.wait(wait)
        if word:
            break
        pending = True
        if time.monotonic() >= allowed:
            succeeded, pending = follower.attempt(), False
            retry = _FIRST_RETRY if succeeded else min(2 * retry, _LAST_RETRY)
            allowed = time.monotonic() + (_PAUSE if succeeded else retry)
    watchdog = threading.Timer(limit, follower.give_up)
    watchdog.daemon = True
    watchdog.start()
    follower.end(word, min(_FINAL, limit / 4))
    watchdog.cancel()


def main() -> None:
    """Run the job that the first line of the input describes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the training; this process ends after it
    with suppress(OSError):
        os.nice(10)
    messages = Messages()
    job = json.loads(messages.first())
    run_dir = Path(job["run_dir"])
    folder = run_dir / "hooks"
    # The follower of a training that was killed may still be sending.
    lock = Lock.on(folder / f".{job['name']}.lock", tries=int(100 * job["limit"]))
    if lock is None:
        raise UserError(f"another process still sends for the hook {job['name']} of {run_dir}")
    state = State.read(folder / f"{job['name']}.json")
    state.write()  # so that an error before the first attempt does not leave the end of an earlier process
    config = json.loads((run_dir / "run.json").read_text())["config"]
    module, _, name = job["sender"].partition(":")
    sender = getattr(importlib.import_module(module), name)(**job["settings"])
    run = FollowedRun(run_dir, config.get("name") or "", flatten(config))
    follow(Follower(run, sender, state), messages, job["limit"])
