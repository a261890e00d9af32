"""Execute runs as processes of this machine, which end with the sweep."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

import torch

from dlzoo.builder.launch import command, parent_death_env
from dlzoo.config import Config
from dlzoo.config.device import accelerator_and_precision, processes
from dlzoo.config.executor import LocalSettings
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.distributed import available_cores
from dlzoo.core.errors import UserError
from dlzoo.runs.kept_parts import environment_for
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Executor, Job, exit_reason_of

#: Memory of a training process without its data, in bytes; torch takes a third of it.
_MEMORY = 1.5 * 2**30


class LocalExecutor(Executor):
    """Executes runs in parallel: on the CPU a run has some of the cores, on GPUs some of the GPUs.

    Runs in parallel, with one core each, are faster than one after the other with all cores: most operations of a small
    network are too short to be parallelised.
    """

    detached = False

    def __init__(self, settings: LocalSettings, configs: Sequence[Config]) -> None:
        self._gpus = list(range(torch.cuda.device_count())) * settings.runs_per_gpu
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        fitting = max(1, min(available_cores() // (settings.threads or 1), int(memory / _MEMORY)))
        if self._gpus and all(self._on_gpu(TrainerSettings(**config["trainer"])) for config in configs):
            fitting = len(self._gpus)
        self.workers = workers = settings.workers or min(len(configs), fitting)
        # By the number of all runs, not of the missing ones: a resumed sweep uses as many threads as before.
        self.threads = settings.threads or max(1, available_cores() // workers)
        self._places, self._cores = workers, workers * self.threads
        self._free_cores, self._free_gpus = self._cores, list(self._gpus)

    def check(self, config: Config) -> None:
        settings = TrainerSettings(**config["trainer"])
        if settings.nodes > 1:
            raise UserError(f"trainer.nodes={settings.nodes} needs executor=slurm; executor=local uses one machine")
        accelerator_and_precision(settings)

    def has_room(self, config: Config, going: int) -> bool:
        settings = TrainerSettings(**config["trainer"])
        gpus = self._gpus_of(settings)
        return (
            going < self._places and len(set(self._free_gpus)) >= gpus and self._free_cores >= self._cores_of(settings)
        )

    def start(self, run: RunDir, config: Config) -> Job:
        settings = TrainerSettings(**config["trainer"])
        width, gpus = self._cores_of(settings), self._gpus_of(settings)
        # The least used GPUs first.
        taken = sorted(set(self._free_gpus), key=lambda gpu: (-self._free_gpus.count(gpu), gpu))[:gpus]
        environment = {"OMP_NUM_THREADS": str(settings.threads or self.threads)}
        if taken:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(_name_of, sorted(taken)))

        def give_back() -> None:
            self._free_gpus.extend(taken)
            self._free_cores += width

        job = _LocalJob(run, environment, give_back)
        for gpu in taken:
            self._free_gpus.remove(gpu)
        self._free_cores -= width
        return job

    def describe(self) -> str:
        gpus = f" on {len(set(self._gpus))} GPU(s)" if self._gpus else ""
        return f"local, {self.workers} at a time{gpus}, {self.threads} thread{'s' if self.threads > 1 else ''} each"

    def _on_gpu(self, settings: TrainerSettings) -> bool:
        return bool(self._gpus) and settings.accelerator != "cpu"

    def _gpus_of(self, settings: TrainerSettings) -> int:
        return min(processes(settings), len(set(self._gpus))) if self._on_gpu(settings) else 0

    def _cores_of(self, settings: TrainerSettings) -> int:
        """Return the number of cores of a run, at most all of them."""
        return min(processes(settings) * (settings.threads or self.threads), self._cores)


def _name_of(gpu: int) -> str:
    """Return CUDA's name of the n-th visible GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[gpu] if visible else str(gpu)


class _LocalJob(Job):
    def __init__(self, run: RunDir, environment: dict[str, str], give_back: Callable[[], None]) -> None:
        self._run, self._give_back, self._over = run, give_back, False
        with run.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                command(run.path),
                env=os.environ | environment | environment_for(run.path, run.read()) | parent_death_env(signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only this process, which passes it on
            )

    def ended(self) -> bool:
        if not self._over and self._process.poll() is not None:
            self._over = True
            self._give_back()
        return self._over

    def exit_reason(self) -> str | None:
        return exit_reason_of(self._process.returncode, self._run)

    def stop(self, at_once: bool = False) -> None:
        self._process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)  # a stopped process would not receive the signal
