"""Distributed runs: `dlzoo run DIR` once per rank, as child processes that end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dlzoo.core.errors import ERROR_FILE, Interrupted, UserError

#: Seconds that the other ranks get to report their own errors after one has failed.
_GRACE = 5.0
#: `dlzoo run` with the dlzoo package of this process, importing nothing from the current folder.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from dlzoo.cli import main; sys.exit(main(['run', *sys.argv[2:]]))"
)
_PARENT = "DLZOO_PARENT"
_PR_SET_PDEATHSIG = 1


class RankError(RuntimeError):
    """A rank failed; `rank` is its index."""

    def __init__(self, rank: int, message: str) -> None:
        super().__init__(message)
        self.rank = rank


def launch(
    run_dir: Path, ranks: int, places: Sequence[str] = (), environment: Mapping[str, str] = {}, *, quiet: bool = False
) -> None:
    """Run `dlzoo run <run_dir> <places>` in `ranks` processes on this machine, and wait for them.

    Rank 0 prints to this process's output. Signals that stop a training are forwarded to every rank, each once.

    Raises:
        UserError, Interrupted: as raised by rank 0, or else by the rank that failed first; UserError if one was killed.
        RankError: if a rank failed with a traceback.
    """
    # Imported here: a rank requests its parent-death signal before it imports torch.
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The store lives here: a port chosen in advance could be taken before the ranks use it.
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        processes = []
        for rank in range(ranks):
            errors = stack.enter_context(_stderr(folder, rank).open("wb"))
            process = subprocess.Popen(
                command(run_dir, places),
                env=_environment(rank, ranks, store.port, folder) | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=None if rank == 0 and not quiet else subprocess.DEVNULL,
                stderr=None if rank == 0 else errors,
                start_new_session=True,  # Ctrl-C reaches this process only, which forwards it
            )
            processes.append(process)
            stack.callback(_end, process)
        with _forward_signals(processes) as forwarded:
            failed = _wait(processes)
        if failed is not None:
            for process in processes:
                _end(process)
            for rank in (0, failed):
                _reraise(processes[rank].returncode, folder / f"{rank}.error")
            if forwarded:  # before the ranks had their handlers, or a second time
                raise Interrupted(f"stopped; resume with: dlzoo run {run_dir}")
            _raise(failed, processes[failed].returncode, folder, run_dir)


def command(run_dir: Path, places: Sequence[str] = ()) -> list[str]:
    """Return the command line that starts `dlzoo run <run_dir> <places>` in another process."""
    return [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).parents[2]), str(run_dir), *places]


def parent_death_env(number: signal.Signals) -> dict[str, str]:
    """Return environment variables with which a process gets a signal when this one ends, even by kill -9."""
    return {_PARENT: f"{os.getpid()} {number:d}"}


def end_with_parent() -> None:
    """Request the parent-death signal, in a process that was started with the variables of `parent_death_env`."""
    if _PARENT not in os.environ:
        return
    parent, number = map(int, os.environ[_PARENT].split())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before the request
        os.kill(os.getpid(), number)


def _watch(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), number)


def _environment(rank: int, ranks: int, port: int, folder: Path) -> dict[str, str]:
    """Return torchrun's environment variables, and those of our own ranks."""
    from dlzoo.core.distributed import available_cores  # imports torch

    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        **parent_death_env(signal.SIGKILL),
        ERROR_FILE: str(folder / f"{rank}.error"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, available_cores() // ranks))),
    }


@contextmanager
def _forward_signals(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Forward signals to the ranks and append them to the yielded list; a second Ctrl-C kills the ranks."""
    forwarded: list[int] = []

    def forward(number: int, frame: object) -> None:
        again = number == signal.SIGINT and number in forwarded
        forwarded.append(number)
        for process in processes:
            process.send_signal(signal.SIGKILL if again else number)

    numbers, before = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), {}
    with suppress(ValueError):  # raised outside the main thread, where handlers cannot be set
        for number in numbers:
            before[number] = signal.signal(number, forward)
    try:
        yield forwarded
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all have ended, or `_GRACE` seconds after one failed; return the rank that failed first, if any."""
    failed, deadline = None, float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if failed is None and (failed := _first_failed(processes)) is not None:
            deadline = time.monotonic() + _GRACE
        time.sleep(0.02)
    return _first_failed(processes) if failed is None else failed


def _first_failed(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Return the rank that failed; of several the one that was killed, since the others fail when they miss it."""
    if not any(process.poll() for process in processes):
        return None
    # Polled again: the rank that was killed ended before the others.
    codes = [process.poll() or 0 for process in processes]
    return min((rank for rank, code in enumerate(codes) if code), key=lambda rank: codes[rank] != -signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _stderr(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.stderr"


def _reraise(code: int, file: Path) -> None:
    if code in (2, 130) and file.exists():
        raise (UserError if code == 2 else Interrupted)(file.read_text())


def _raise(rank: int, code: int, folder: Path, run_dir: Path) -> None:
    if code < 0:
        name = signal.Signals(-code).name
        raise UserError(f"rank {rank} was killed by {name} (out of memory?); resume with: dlzoo run {run_dir}")
    error = folder / f"{rank}.error"
    text = (error if error.exists() else _stderr(folder, rank)).read_text(errors="replace").strip()
    raise RankError(rank, f"rank {rank} ended with exit code {code}" + (f":\n{text[-8000:]}" if text else ""))
