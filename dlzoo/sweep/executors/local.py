"""Runs as processes of this machine, which end when we do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

import torch

from dlzoo.builder.launch import command, parent_death_env
from dlzoo.config.device import hardware, processes
from dlzoo.config.executor import LocalSettings
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.distributed import available_cores
from dlzoo.core.errors import UserError
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Config, Executor, Job, fate_of

#: What a training process needs of the memory before its data: torch alone takes a third of it.
_MEMORY = 1.5 * 2**30


class LocalExecutor(Executor):
    """As many runs at a time as fit: on the CPU a run is a group of threads, on GPUs it is given some of them.

    One run with all cores is slower than one run a core beside each other: most operations of a small network are too
    short to be shared out.
    """

    detached = False

    def __init__(self, settings: LocalSettings, configs: Sequence[Config]) -> None:
        self._gpus = list(range(torch.cuda.device_count())) * settings.runs_per_gpu
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        fitting = max(1, min(available_cores() // (settings.threads or 1), int(memory / _MEMORY)))
        if self._gpus and all(self._on_gpu(TrainerSettings(**config["trainer"])) for config in configs):
            fitting = len(self._gpus)
        self.workers = workers = settings.workers or min(len(configs), fitting)
        # Of all runs that were asked for, not of those that are left: a sweep that goes on goes on as it began.
        self.threads = settings.threads or max(1, available_cores() // workers)
        self._places, self._cores = workers, workers * self.threads
        self._free_cores, self._free_gpus = self._cores, list(self._gpus)

    def check(self, config: Config) -> None:
        settings = TrainerSettings(**config["trainer"])
        if settings.nodes > 1:
            raise UserError(f"trainer.nodes={settings.nodes} needs executor=slurm: local is one machine")
        hardware(settings)

    def has_room(self, config: Config, going: int) -> bool:
        settings = TrainerSettings(**config["trainer"])
        gpus = self._wanted_gpus(settings)
        return going < self._places and len(set(self._free_gpus)) >= gpus and self._free_cores >= self._width(settings)

    def start(self, run: RunDir, config: Config) -> Job:
        settings = TrainerSettings(**config["trainer"])
        width, gpus = self._width(settings), self._wanted_gpus(settings)
        # The idlest first.
        taken = sorted(set(self._free_gpus), key=lambda gpu: (-self._free_gpus.count(gpu), gpu))[:gpus]
        given = {"OMP_NUM_THREADS": str(settings.threads or self.threads)}
        if taken:
            given["CUDA_VISIBLE_DEVICES"] = ",".join(map(_name_of, sorted(taken)))

        def give_back() -> None:
            self._free_gpus.extend(taken)
            self._free_cores += width

        job = _LocalJob(run, given, give_back)
        for gpu in taken:
            self._free_gpus.remove(gpu)
        self._free_cores -= width
        return job

    def describe(self) -> str:
        gpus = f" on {len(set(self._gpus))} GPU(s)" if self._gpus else ""
        return f"local, {self.workers} at a time{gpus}, {self.threads} thread{'s' if self.threads > 1 else ''} each"

    def _on_gpu(self, settings: TrainerSettings) -> bool:
        return bool(self._gpus) and settings.accelerator != "cpu"

    def _wanted_gpus(self, settings: TrainerSettings) -> int:
        return min(processes(settings), len(set(self._gpus))) if self._on_gpu(settings) else 0

    def _width(self, settings: TrainerSettings) -> int:
        """The cores that a run takes; one that wants more than there are has them for itself."""
        return min(processes(settings) * (settings.threads or self.threads), self._cores)


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
                env=os.environ | environment | parent_death_env(signal.SIGTERM),
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
        self._process.send_signal(signal.SIGCONT)  # one that somebody halted would never hear of it
