"""Commands in processes of their own, forked from one that has imported everything: imports take six seconds.

For tests of what a command does. Tests of the imports themselves, and of processes that dlzoo starts, use
`subprocess`.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import BaseContext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from dlzoo.builder import results
from dlzoo.builder.execute import execute
from dlzoo.cli import main
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Job
from dlzoo.sweep.executors.local import LocalExecutor

REPOSITORY = Path(__file__).parents[1]


class Command:
    """`dlzoo <words>` in the current folder, or a Python program; used like subprocess.Popen with text=True.

    Args:
        words: of the command line, or arguments of `code`.
        environment: variables beside those of this process; PYTHONPATH is obeyed.
        code: a program to run instead of dlzoo.
        plots: whether plots are drawn.
        one_process: whether the runs of a sweep are executed in the process of the sweep.
        fork: whether processes that dlzoo starts are forked from this one.
        files: "stdout" and "stderr" -> paths that are appended to, instead of being returned by `communicate`.
    """

    def __init__(
        self,
        *words: str,
        environment: Mapping[str, str] | None = None,
        code: str | None = None,
        plots: bool = False,
        one_process: bool = False,
        fork: bool = False,
        files: Mapping[str, str] | None = None,
    ) -> None:
        folder = tempfile.mkdtemp(dir=_outputs())
        self._files = {name: f"{folder}/{name}" for name in ("stdout", "stderr")} | dict(files or {})
        variables = {**os.environ, **(environment or {})}
        arguments = (words, variables, self._files, code, plots, one_process, fork)
        self._process = server().Process(target=_run, args=arguments)
        self._process.start()
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def communicate(self, timeout: float = 180) -> tuple[str, str]:
        """Wait, and return what was printed to stdout and stderr."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("dlzoo", timeout)
        return Path(self._files["stdout"]).read_text(), Path(self._files["stderr"]).read_text()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait_for(self, path: Path, text: str = "", seconds: float = 120) -> None:
        """Wait until a file is there and contains a text."""
        deadline = time.monotonic() + seconds
        while not (path.exists() and (not text or text in path.read_text())):
            assert time.monotonic() < deadline, f"{path} did not contain {text!r} in {seconds} s"
            assert self.poll() is None, self.communicate()
            time.sleep(0.02)


class Ended(Job):
    """A run that has ended already."""

    def ended(self) -> bool:
        return True

    def exit_reason(self) -> str | None:
        return None

    def stop(self, at_once: bool = False) -> None:
        pass


def dlzoo(*words: str, **options: Any) -> str:
    """Run `dlzoo <words>`, with the options of Command, and return what it printed."""
    command = Command(*words, **options)
    output, errors = command.communicate()
    assert command.returncode == 0, errors
    return output


class Forked(Command):
    """Replacement for subprocess.Popen of `dlzoo run DIR` (see `fork_runs`).

    It is not a child of the process that started it, so it does not end with it.
    """

    def __init__(self, command: list[str], *, env: Mapping[str, str], stdout: Any, stderr: Any, **_: Any) -> None:
        files = {name: file.name for name, file in (("stdout", stdout), ("stderr", stderr)) if hasattr(file, "name")}
        if stderr == subprocess.STDOUT and "stdout" in files:
            files["stderr"] = files["stdout"]
        variables = {name: value for name, value in env.items() if name != "DLZOO_PARENT"}
        super().__init__("run", command[-1], environment=variables, files=files)

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode


def fork_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dlzoo fork the processes that it starts itself."""
    for module in ("dlzoo.builder.launch", "dlzoo.sweep.executors.local"):
        monkeypatch.setattr(f"{module}.subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Forked}))


def start_here(executor: LocalExecutor, run: RunDir, config: dict[str, Any]) -> Job:
    """LocalExecutor.start, in this process and without plots: imports take six seconds, plots longer than a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "draw", lambda *made: {})
        execute(run, Console(quiet=True))
    return Ended()


@cache
def _outputs() -> str:
    """Return a folder for what commands print, which is removed at the end."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class _Forking:
    """Whether this process forks its own processes; the start method alone says nothing, as any library may set it."""

    here = False


@cache
def server() -> BaseContext:
    """Return the context in which processes are forked from one that has imported everything."""
    if _Forking.here:
        return multiprocessing.get_context("fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.imports"])
    return context


def _run(
    words: tuple[str, ...],
    variables: dict[str, str],
    files: dict[str, str],
    code: str | None,
    plots: bool,
    one_process: bool,
    fork: bool,
) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = [path for path in variables.get("PYTHONPATH", "").split(":") if path]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(files[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
        stream = io.TextIOWrapper(os.fdopen(number, "wb", closefd=False), encoding="utf-8", write_through=True)
        setattr(sys, name, stream)
    if not plots:
        results.draw = lambda *made: {}
    if one_process:
        LocalExecutor.start = start_here
    if fork:
        server.cache_clear()
        multiprocessing.set_start_method("fork", force=True)
        _Forking.here = True
        fork_runs(pytest.MonkeyPatch())
    sys.argv = ["dlzoo" if code is None else "-c", *words]
    if code is not None:
        exec(code, {"__name__": "__main__"})
        return
    sys.exit(main(list(words)))
