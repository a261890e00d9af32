"""Runs as processes of this machine, which end when we do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import torch

from dlzoo.errors import UserError
from dlzoo.executors.job import Config, Executor, Job, fate_of
from dlzoo.executors.settings import LocalSettings
from dlzoo.hardware import hardware, processes
from dlzoo.launch import bound, command
from dlzoo.ranks import cores
from dlzoo.runs.run_dir import RunDir
from dlzoo.settings import TrainerSettings

#: What a training process needs of the memory before its data: torch alone takes a third of it.
_MEMORY = 1.5 * 2**30


class LocalExecutor(Executor):
    """As many runs at a time as fit: on the CPU a run is a group of threads, on GPUs it is given some of them.

    One run with all cores is slower than one run a core beside each other: most operations of a small network are too
    short to be shared out.
    """

    detached = False

    def __init__(self, settings: LocalSettings, runs: int) -> None:
        gpus = list(range(torch.cuda.device_count())) * settings.runs_per_gpu
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        fitting = max(1, min(cores() // (settings.threads or 1), int(memory / _MEMORY)))
        self.workers = settings.workers or min(runs, max(len(gpus), fitting))
        # Of the sweep, not of what is left of it: the number of threads decides how sums are rounded.
        self.threads = settings.threads or max(1, cores() // self.workers)
        self._gpus, self._free_gpus, self._free = gpus, list(gpus), self.workers

    def check(self, config: Config) -> None:
        settings = TrainerSettings(**config["trainer"])
        if settings.nodes > 1:
            raise UserError(f"trainer.nodes={settings.nodes} needs executor=slurm: local is one machine")
        hardware(settings)

    def has_room(self, config: Config) -> bool:
        settings = TrainerSettings(**config["trainer"])
        if self._on_gpu(settings):
            return self._free > 0 and len(set(self._free_gpus)) >= min(processes(settings), len(set(self._gpus)))
        return self._free >= self._width(settings)

    def start(self, run: RunDir, config: Config) -> Job:
        settings = TrainerSettings(**config["trainer"])
        taken, given = [], {"OMP_NUM_THREADS": str(settings.threads or self.threads)}
        if self._on_gpu(settings):
            taken = sorted(set(self._free_gpus))[: processes(settings)]
            for gpu in taken:
                self._free_gpus.remove(gpu)
            given["CUDA_VISIBLE_DEVICES"] = ",".join(map(_name_of, taken))
        width = 1 if taken else self._width(settings)
        self._free -= width

        def give_back() -> None:
            self._free_gpus.extend(taken)
            self._free += width

        return _LocalJob(run, given, give_back)

    def describe(self) -> str:
        gpus = f" on {len(set(self._gpus))} GPU(s)" if self._gpus else ""
        return f"local, {self.workers} at a time{gpus}, {self.threads} thread{'s' if self.threads > 1 else ''} each"

    def _on_gpu(self, settings: TrainerSettings) -> bool:
        return bool(self._gpus) and settings.accelerator != "cpu"

    def _width(self, settings: TrainerSettings) -> int:
        """The places that a run on the CPU takes; one that is wider than the machine has it for itself."""
        return min(processes(settings), self.workers)


def _name_of(gpu: int) -> str:
    """What CUDA calls a GPU that is the so-manieth for us."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[gpu] if visible else str(gpu)


class _LocalJob(Job):
    def __init__(self, run: RunDir, environment: dict[str, str], give_back: Callable[[], None]) -> None:
        self._run, self._give_back, self._over = run, give_back, False
        with run.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                command(run.path),
                env=os.environ | environment | bound(signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and we hand it on
            )

    def over(self) -> bool:
        if not self._over and self._process.poll() is not None:
            self._over = True
            self._give_back()
        return self._over

    def fate(self) -> str | None:
        return fate_of(self._process.returncode, self._run)

    def stop(self, at_once: bool = False) -> None:
        self._process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
