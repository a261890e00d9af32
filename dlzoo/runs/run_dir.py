"""One run on disk: config.yaml, run.json, metrics.jsonl, TensorBoard's events, pictures/ and checkpoints/."""

from __future__ import annotations

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

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import reason, regular, shorten, unreadable, write_atomically
from dlzoo.core.yaml_text import to_yaml
from dlzoo.runs import kept_parts
from dlzoo.runs.locations import absolute_paths
from dlzoo.runs.lock import Lock, is_locked
from dlzoo.runs.record import check_record

#: Files in a run directory that are locked, never read: by who writes to the run, and by who is about to start it.
_LOCK, _CLAIM = ".lock", ".claim"


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
        """Make the directory and write its config; its state is "created". A new folder appears complete, by a rename.

        Raises:
            UserError: if the path is not an empty folder, or cannot be written.
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
                    raise UserError(_describe_occupied(path))
                aside.path.rename(path)
        except OSError as error:
            if os.path.isdir(path) and any(path.iterdir()):  # another process was faster
                raise UserError(_describe_occupied(path)) from error
            raise UserError(f"cannot write the run to {shorten(path)}: {reason(error)}") from error
        return cls(path)

    def _fill(self, config: dict[str, Any]) -> None:
        """Write the first files of a run into an empty folder."""
        try:
            (self.path / "checkpoints").mkdir()
            write_atomically(self.config_file, to_yaml(config))
            parts = kept_parts.keep(self.path, config)
            self.update(state="created", created=now(), config=config, paths=absolute_paths(config), **parts)
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)  # the folder was empty before
            raise

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Return the existing run at `path`.

        Raises:
            UserError: if there is none.
        """
        run = cls(Path(path))
        if not run.config_file.is_file() or not run.state_file.is_file():
            what = "folder not found" if not run.path.exists() else "it has no config.yaml and run.json"
            raise UserError(f"{path} is not a run directory: {what}")
        return run

    def read(self) -> dict[str, Any]:
        """Return the content of run.json; a running run whose lock is free is "interrupted".

        Raises:
            UserError: if the file is damaged.
        """
        try:
            content = json.loads(regular(self.state_file).read_text())
            check_record(content)
            if content["state"] == "running" and not is_locked(self.path / _LOCK):
                content = json.loads(self.state_file.read_text())  # it may have ended in between
                if content["state"] == "running":
                    content["state"] = "interrupted"
        except OSError as error:
            raise unreadable(self.state_file, error) from error
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{self.state_file} cannot be read ({first_line(error)}); delete the folder to start the run over"
            ) from error
        return content

    def update(self, **fields: Any) -> None:
        """Change fields of run.json atomically."""
        content = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        write_atomically(self.state_file, json.dumps(replace_non_finite(content | fields), indent=1) + "\n")

    def write_predictions(self, columns: Mapping[str, Any]) -> None:
        """Write test_predictions.npz: an array for each name, a row for each test sample."""
        import numpy as np  # not needed to open a run

        content = BytesIO()
        np.savez_compressed(content, **columns)
        write_atomically(self.predictions_file, content.getvalue())

    def has_begun(self) -> bool:
        """Return whether anything was logged or saved."""
        logged = self.metrics_file.exists() and self.metrics_file.stat().st_size > 0
        return logged or self.last_checkpoint.exists() or self.best_checkpoint.exists()

    def resume_checkpoint(self) -> Path | None:
        """Return the checkpoint to resume from: the last one, or the best one if the last is missing."""
        return next((path for path in (self.last_checkpoint, self.best_checkpoint) if path.exists()), None)

    def other_checkpoints(self) -> list[Path]:
        """Return the checkpoints beside the last one: the best one, and those that were kept."""
        files = sorted(self.last_checkpoint.parent.glob("*.ckpt"))
        return [path for path in files if path != self.last_checkpoint and not path.name.startswith(".")]

    def selected_checkpoint(self) -> Path:
        """Return the checkpoint that the run reports: of the best epoch, or the last with trainer.select=last.

        Raises:
            UserError: if there is none yet.
        """
        record = self.read()
        best = record["config"].get("trainer", {}).get("select") == "best" and "val" in record.get("data_sizes", {})
        path = self.best_checkpoint if best else self.last_checkpoint
        if not path.exists():
            if self.last_checkpoint.exists():
                raise UserError(f"{path} is missing, so there are no weights to test; start a new run")
            raise UserError(f"{self.path} has no {path.name} (the run is {record['state']})")
        return path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the directory for writing; the lock ends with the process, even after kill -9.

        Raises:
            UserError: if another process holds it.
        """
        held = Lock.on(self.path / _LOCK, tries=20)
        if held is None:
            raise UserError(f"{self.path} is being written by another process")
        for folder in (self.path, self.path / "checkpoints"):
            for left in folder.glob(".*.tmp"):  # by a process that was killed as it wrote
                left.unlink(missing_ok=True)
        try:
            yield
        finally:
            held.release()

    def claim(self) -> Lock | None:
        """Claim this run for starting, until the lock is released or the process ends; None if another one has it."""
        return Lock.on(self.path / _CLAIM, tries=3)

    def is_claimed(self) -> bool:
        """Return whether a process is about to start this run, or waits for it."""
        return is_locked(self.path / _CLAIM)

    def job(self) -> dict[str, str] | None:
        """Return the cluster's job of this run, the latest one; None if there is none."""
        try:
            return json.loads(regular(self.job_file).read_text())
        except (OSError, ValueError):
            return None


def now() -> str:
    """Return the local time in the format of run.json."""
    return datetime.now().astimezone().isoformat("T", "seconds")


def make_folder(label: str, root: Path = Path("outputs")) -> Path:
    """Make a new, empty folder: outputs/2026-11-21_14-03-22_<label>.

    Raises:
        UserError: if it cannot be made.
    """
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{re.sub(r'[^A-Za-z0-9._-]+', '-', label)[:80]}"
    for number in count(1):
        path = root / (stem if number == 1 else f"{stem}_{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:  # another run started in the same second
            if not root.is_dir():
                raise UserError(f"cannot write the run to {root}: it is not a folder") from None
        except OSError as error:
            raise UserError(f"cannot write the run to {shorten(path)}: {reason(error)}") from error
    raise AssertionError("unreachable")


def replace_non_finite(value: Any) -> Any:
    """Return `value` for strict JSON: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _describe_occupied(path: Path) -> str:
    try:
        run = RunDir.open(path)
        state = run.read()["state"]
    except UserError:
        return f"run_dir={path} already has other content; choose a new or empty folder"
    if state in ("running", "finished"):
        return f"run_dir={path} holds a {state} run; choose another folder"
    if state == "failed" and not run.has_begun():
        return f"run_dir={path} holds a failed run that trained nothing; delete the folder, or choose another"
    return f"run_dir={path} already holds a run (state: {state}); resume it with: dlzoo run {path}"
