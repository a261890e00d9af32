"""A distributed run: `dlzoo run DIR` once per rank, as children that end with us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dlzoo.core.errors import ERROR_FILE, Interrupted, UserError

#: Seconds that the others get to say what they have to say when a rank has failed.
_GRACE = 5.0
#: `dlzoo run`, which finds dlzoo where we found it and imports nothing from the folder that we are in.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from dlzoo.cli import main; sys.exit(main(['run', sys.argv[2]]))"
)
_PARENT = "DLZOO_PARENT"
_PR_SET_PDEATHSIG = 1


class RankError(RuntimeError):
    """A rank broke; `rank` says which."""

    def __init__(self, rank: int, message: str) -> None:
        super().__init__(message)
        self.rank = rank


def launch(run_dir: Path, ranks: int, *, quiet: bool = False) -> None:
    """Run `dlzoo run <run_dir>` in so many processes on this machine, and wait for them.

    Rank 0 prints and draws where we would. Signals that end a training are handed on to every rank, each once.

    Raises:
        UserError, Interrupted: what rank 0 said, or else the rank that failed first; UserError too if one was killed.
        RankError: if a rank broke, with its traceback.
    """
    # Here, not above: a rank asks to end with its parent before it imports torch.
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    from dlzoo.core.distributed import available_cores

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # The ranks meet in a store of ours: no port is free at one moment and taken at the next.
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        processes = []
        for rank in range(ranks):
            errors = stack.enter_context(_said(folder, rank).open("wb"))
            processes.append(
                subprocess.Popen(
                    command(run_dir),
                    env=_environment(rank, ranks, store.port, folder)
                    | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, available_cores() // ranks)))},
                    stdin=subprocess.DEVNULL,
                    stdout=None if rank == 0 and not quiet else subprocess.DEVNULL,
                    stderr=None if rank == 0 else errors,
                    start_new_session=True,  # Ctrl-C reaches us alone, and we hand it on
                )
            )
            stack.callback(_end, processes[-1])
        with _handing_on(processes) as handed:
            failed = _wait(processes)
        if failed is not None:
            for process in processes:
                _end(process)
            for rank in (0, failed):
                _raise_what_it_said(processes[rank].returncode, folder / f"{rank}.error")
            if handed:  # before they could listen, or a second time
                raise Interrupted(f"stopped; go on with: dlzoo run {run_dir}")
            _raise(failed, processes[failed].returncode, folder, run_dir)


def command(run_dir: Path) -> list[str]:
    """The words that start `dlzoo run <run_dir>` in another process."""
    return [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).parents[2]), str(run_dir)]


def bound(number: signal.Signals) -> dict[str, str]:
    """The environment in which such a process gets a signal when ours is gone, kill -9 included."""
    return {_PARENT: f"{os.getpid()} {number:d}"}


def end_with_parent() -> None:
    """In a process that was started `bound`: ask for the signal."""
    if _PARENT not in os.environ:
        return
    parent, number = map(int, os.environ[_PARENT].split())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:  # it went before we could ask to be told
        os.kill(os.getpid(), number)


def _watch(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), number)


def _environment(rank: int, ranks: int, port: int, folder: Path) -> dict[str, str]:
    """torchrun's variables, and what only our own ranks know."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        **bound(signal.SIGKILL),
        ERROR_FILE: str(folder / f"{rank}.error"),
    }


@contextmanager
def _handing_on(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Inside, signals go to the ranks, and into the list that is yielded; a second Ctrl-C ends them at once."""
    handed: list[int] = []

    def hand_on(number: int, frame: object) -> None:
        again = number == signal.SIGINT and number in handed
        handed.append(number)
        for process in processes:
            process.send_signal(signal.SIGKILL if again else number)

    numbers, before = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), {}
    with suppress(ValueError):  # outside the main thread whoever runs us there looks after signals
        for number in numbers:
            before[number] = signal.signal(number, hand_on)
    try:
        yield handed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: list[subprocess.Popen[bytes]]) -> int | None:
    """Until all have ended, or one has failed and the others had their grace; the rank that failed first."""
    failed, deadline = None, float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if failed is None:
            failed = next((rank for rank, process in enumerate(processes) if process.poll()), None)
            deadline = float("inf") if failed is None else time.monotonic() + _GRACE
        time.sleep(0.02)
    if failed is None:
        failed = next((rank for rank, process in enumerate(processes) if process.returncode), None)
    return failed


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _said(folder: Path, rank: int) -> Path:
    return folder / f"{rank}.stderr"


def _raise_what_it_said(code: int, file: Path) -> None:
    if code in (2, 130) and file.exists():
        raise (UserError if code == 2 else Interrupted)(file.read_text())


def _raise(rank: int, code: int, folder: Path, run_dir: Path) -> None:
    if code < 0:
        name = signal.Signals(-code).name
        raise UserError(f"rank {rank} was killed by {name} (out of memory?); go on with: dlzoo run {run_dir}")
    error = folder / f"{rank}.error"
    said = (error if error.exists() else _said(folder, rank)).read_text(errors="replace").strip()
    raise RankError(rank, f"rank {rank} ended with exit code {code}" + (f":\n{said[-8000:]}" if said else ""))
