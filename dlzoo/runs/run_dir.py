"""One run on disk: config.yaml, run.json, metrics.jsonl, TensorBoard's events, pictures/ and checkpoints/."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from dlzoo.core.errors import UserError

#: Files in a run directory that are locked, never read: by who writes to the run, and by who is about to start it.
_LOCK, _CLAIM = ".lock", ".claim"

#: Locks that this process holds. A forked child must let go of them, or it would hold them after us.
_held: set[int] = set()


def _release_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)


class RunDir:
    """A run directory that exists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.state_file = path / "run.json"
        self.metrics_file = path / "metrics.jsonl"
        self.predictions_file = path / "test_predictions.npz"
        self.pictures = path / "pictures"
        self.output_file = path / "output.txt"
        self.job_file = path / "job.json"
        self.last_checkpoint = path / "checkpoints" / "last.ckpt"
        self.best_checkpoint = path / "checkpoints" / "best.ckpt"

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> RunDir:
        """Make the directory and write its config; its state is "created". Where there is no folder, it appears whole.

        Raises:
            UserError: if something is there already, or the folder cannot be written.
        """
        try:
            if path.is_dir() and not any(path.iterdir()):
                cls(path)._fill(config)
                return cls(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-", ignore_cleanup_errors=True) as folder:
                aside = cls(Path(folder) / path.name)
                aside.path.mkdir()
                aside._fill(config)
                if os.path.lexists(path):
                    raise UserError(_occupied(path))
                aside.path.rename(path)
        except OSError as error:
            if path.is_dir() and any(path.iterdir()):  # another process was faster
                raise UserError(_occupied(path)) from error
            raise UserError(f"cannot write the run to {path}: {error.strerror or error}") from error
        return cls(path)

    def _fill(self, config: dict[str, Any]) -> None:
        """What a run begins with, into an empty folder."""
        try:
            (self.path / "checkpoints").mkdir()
            write_atomically(self.config_file, yaml.safe_dump(config, sort_keys=False))
            self.update(state="created", created=now(), config=config)
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)  # it was empty before: all that is there is ours
            raise

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """An existing run.

        Raises:
            UserError: if there is none at `path`.
        """
        run = cls(Path(path))
        if not run.config_file.is_file() or not run.state_file.is_file():
            what = "no such folder" if not run.path.exists() else "it has no config.yaml and run.json"
            raise UserError(f"{path} is not a run directory: {what}")
        return run

    def read(self) -> dict[str, Any]:
        """run.json; a run that says running, but whose lock is free, is "interrupted".

        Raises:
            UserError: if the file is damaged.
        """
        try:
            content = json.loads(self.state_file.read_text())
            content["config"].items()  # the least that others rely on
            if content["state"] == "running" and not _is_locked(self.path / _LOCK):
                content = json.loads(self.state_file.read_text())  # it may have ended between our two looks
                if content["state"] == "running":
                    content["state"] = "interrupted"
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = str(error) if isinstance(error, (OSError, ValueError)) else "it is not what a run writes"
            raise UserError(
                f"{self.state_file} cannot be read ({what}); without its folder the run begins anew"
            ) from error
        return content

    def update(self, **fields: Any) -> None:
        """Change fields of run.json, all at once or not at all."""
        content = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        write_atomically(self.state_file, json.dumps(strict(content | fields), indent=1) + "\n")

    def write_predictions(self, columns: Mapping[str, Any]) -> None:
        """Write test_predictions.npz: an array for each name, a row for each test sample."""
        import numpy as np  # opening a run needs none

        content = BytesIO()
        np.savez_compressed(content, **columns)
        write_atomically(self.predictions_file, content.getvalue())

    def has_begun(self) -> bool:
        """Whether anything was measured or saved."""
        logged = self.metrics_file.exists() and self.metrics_file.stat().st_size > 0
        return logged or self.last_checkpoint.exists() or self.best_checkpoint.exists()

    def resume_checkpoint(self) -> Path | None:
        """Where a run goes on from: its last checkpoint, or the best where a kill or a person left no other."""
        return next((path for path in (self.last_checkpoint, self.best_checkpoint) if path.exists()), None)

    def selected_checkpoint(self) -> Path:
        """The checkpoint whose numbers the run reports: the best epoch's, or the last one's if that was asked for.

        Raises:
            UserError: if there is none yet.
        """
        record = self.read()
        best = record["config"]["trainer"]["select"] == "best" and "val" in record.get("data_sizes", {})
        path = self.best_checkpoint if best else self.last_checkpoint
        if not path.exists():
            if self.last_checkpoint.exists():
                raise UserError(f"{path} is gone, and the weights to test with it; start a new run")
            raise UserError(f"{self.path}: there is no {path.name} (the run is {record['state']})")
        return path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory while a process writes to it; the lock goes when the process goes, kill -9 included.

        Raises:
            UserError: if another process holds it.
        """
        held = Lock.on(self.path / _LOCK, tries=20)
        if held is None:
            raise UserError(f"{self.path} is being written by another process")
        try:
            yield
        finally:
            held.release()

    def claim(self) -> Lock | None:
        """The right to start this run, until it is released or this process goes; None if another process has it."""
        return Lock.on(self.path / _CLAIM, tries=3)

    def is_claimed(self) -> bool:
        """Whether a process is about to start this run, or waits for it."""
        return _is_locked(self.path / _CLAIM)

    def job(self) -> dict[str, str] | None:
        """What a cluster calls the job that has this run, or had it last."""
        try:
            return json.loads(self.job_file.read_text())
        except (OSError, ValueError):
            return None


class Lock:
    """A lock on a file, which goes when the process goes, kill -9 included.

    A file, not the folder: on NFS only what can be written to can be locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _held.add(descriptor)

    @classmethod
    def on(cls, path: Path, tries: int) -> Lock | None:
        """The lock; None if another process holds it at each of so many tries, 10 ms apart.

        Who only looks whether it is locked holds it for a moment.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        for _ in range(tries):
            if _flock(descriptor, fcntl.LOCK_EX):
                return cls(descriptor)
            time.sleep(0.01)
        os.close(descriptor)
        return None

    def release(self) -> None:
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def now() -> str:
    """The time, as run.json has it."""
    return datetime.now().astimezone().isoformat("T", "seconds")


def fresh_folder(label: str, root: Path = Path("outputs")) -> Path:
    """A new and empty folder: outputs/2026-11-21_14-03-22_<label>.

    Raises:
        UserError: if it cannot be made.
    """
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{re.sub(r'[^A-Za-z0-9._-]+', '-', label)[:80]}"
    for number in count(1):
        path = root / (stem if number == 1 else f"{stem}_{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:  # another run that was started in the same second
            if not root.is_dir():
                raise UserError(f"cannot write the run to {root}: it is no folder") from None
        except OSError as error:
            raise UserError(f"cannot write the run to {path}: {error.strerror or error}") from error
    raise AssertionError("unreachable")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write aside, sync, rename: readers see the old file or the new one, never half of one. Text is UTF-8."""
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def strict(value: Any) -> Any:
    """`value` for JSON: numbers that are not finite become null, which every reader understands."""
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _occupied(path: Path) -> str:
    try:
        state = RunDir.open(path).read()["state"]
    except UserError:
        return f"run_dir={path}: something else is there already; name a folder that is new or empty"
    if state == "running":
        return f"run_dir={path} holds a run that is running; name another folder"
    if state == "finished":
        return f"run_dir={path} holds a finished run; name another folder"
    return f"run_dir={path} holds a run that is {state}; go on with it by: dlzoo run {path}"
