"""Execute runs as Slurm jobs with submitit, or, for a test, with submitit's local executor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from dlzoo.builder.launch import command, parent_death_env
from dlzoo.config import Config
from dlzoo.config.executor import SlurmSettings
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.distributed import available_cores
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import write_atomically
from dlzoo.core.terminal import in_one_line
from dlzoo.runs.kept_parts import environment_for
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Executor, Job, exit_reason_of, wants_gpu

#: Seconds from Slurm's signal to the end of a job, and how many of them a run has to save.
_NOTICE, _SAVING = 120, 90
#: The exit code of a run that was asked to stop.
_STOPPED = 130


class SlurmExecutor(Executor):
    """Executes each run as one job: one task that starts its processes, or, on several machines, a task per process."""

    def __init__(self, settings: SlurmSettings, folder: Path, *, here: bool) -> None:
        try:
            import submitit
        except ImportError as error:
            raise UserError(f"executor=slurm needs submitit: pip install 'dlzoo[slurm]' ({error})") from error
        self._submitit, self._settings, self._here = submitit, settings, here
        # The files of submitit: the pickled call, the script, its own log.
        self._folder = folder.absolute() / ".jobs"
        self._cluster = "local" if here else "slurm"
        self.detached, self.threads = not here, settings.threads
        self.workers = settings.workers or (max(1, available_cores() // settings.threads) if here else None)
        try:
            submitit.AutoExecutor(self._folder / "%j", cluster=self._cluster)
        except RuntimeError as error:
            raise UserError(
                "executor=slurm: Slurm was not found on this machine (no sbatch); try executor=slurm_local"
            ) from error

    def check(self, config: Config) -> None:
        trainer = TrainerSettings(**config["trainer"])
        if trainer.devices == "all":
            raise UserError("trainer.devices=all: Slurm needs a number of devices; set trainer.devices=4")
        if self._here and trainer.nodes > 1:
            raise UserError(
                f"trainer.nodes={trainer.nodes} needs executor=slurm; executor=slurm_local uses one machine"
            )

    def has_room(self, config: Config, going: int) -> bool:
        return self.workers is None or going < self.workers

    def start(self, run: RunDir, config: Config) -> Job:
        trainer = TrainerSettings(**config["trainer"])
        assert trainer.devices != "all"
        spread = trainer.nodes > 1
        threads = trainer.threads or self._settings.threads
        executor = self._submitit.AutoExecutor(
            self._folder / "%j", cluster=self._cluster, slurm_max_num_timeout=10_000, local_max_num_timeout=10_000
        )
        options = {
            "mem_gb": self._settings.memory,
            "slurm_partition": self._settings.partition,
            "slurm_account": self._settings.account,
            "slurm_qos": self._settings.qos,
            "slurm_constraint": self._settings.constraint,
            "gpus_per_node": trainer.devices if wants_gpu(config) else None,
        }
        executor.update_parameters(
            name=in_one_line(run.path.name)[:60],
            timeout_min=self._settings.minutes,
            nodes=trainer.nodes,
            tasks_per_node=trainer.devices if spread else 1,
            cpus_per_task=threads if spread else threads * trainer.devices,
            slurm_setup=list(self._settings.setup),
            local_setup=list(self._settings.setup),
            slurm_signal_delay_s=_NOTICE,
            **{key: value for key, value in options.items() if value is not None},
        )
        try:
            submitted = executor.submit(
                RunTask(str(run.path.absolute()), threads, spread, environment_for(run.path, run.read()))
            )
        except Exception as error:  # of sbatch: an unknown partition, an account without hours
            raise UserError(f"Slurm refused {run.path.name}: {first_line(error)}") from error
        write_atomically(run.job_file, json.dumps({"executor": self._cluster, "id": submitted.job_id}) + "\n")
        return _SlurmJob(run, submitted)

    def find(self, run: RunDir, name: dict[str, str]) -> Job | None:
        if name["executor"] != "slurm" or self._here:
            return None
        job = self._submitit.SlurmJob(self._folder / "%j", name["id"])
        # Slurm forgets ended jobs; an unknown job is not in the queue.
        return (
            None if job.watcher.get_state(name["id"], mode="force") == "UNKNOWN" or job.done() else _SlurmJob(run, job)
        )

    def describe(self) -> str:
        many = "all at once" if self.workers is None else f"{self.workers} at a time"
        return f"{'slurm_local' if self._here else 'slurm'}, {many}, at most {self._settings.minutes} minutes a job"


class _SlurmJob(Job):
    def __init__(self, run: RunDir, job: Any) -> None:
        self._run, self._job = run, job

    def ended(self) -> bool:
        return self._job.done()

    def exit_reason(self) -> str | None:
        try:
            return next((exit_reason for exit_reason in self._job.results() if exit_reason), None)
        except Exception as error:  # the job was cancelled, out of memory, or on a machine that failed
            return f"job {self._job.job_id}: {first_line(error)}"

    def stop(self, at_once: bool = False) -> None:
        self._job.cancel()


class RunTask:
    """The function of a job: execute a run, and return to the queue after a time limit or a preemption."""

    def __init__(self, path: str, threads: int, spread: bool, environment: dict[str, str]) -> None:
        self.path, self.threads, self.spread, self.environment = path, threads, spread, environment
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> str | None:
        run, environment = RunDir(Path(self.path)), {"OMP_NUM_THREADS": str(self.threads)} | self.environment
        leads = True
        if self.spread:
            from submitit.helpers import TorchDistributedEnvironment

            leads = TorchDistributedEnvironment().export(set_cuda_visible_devices=False).rank == 0
        with run.output_file.open("ab") if leads else open(os.devnull, "wb") as output:
            self._process = subprocess.Popen(
                command(run.path),
                env=os.environ | environment | parent_death_env(signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        while (code := self._process.poll()) is None:  # not wait(): `checkpoint` is called in the middle of this
            time.sleep(0.1)
        if code == _STOPPED:  # by a signal to all processes of the job; submitit's own signal follows
            time.sleep(_NOTICE if "SLURM_JOB_ID" in os.environ else 0)
        return exit_reason_of(code, run)

    def checkpoint(self) -> Any:
        """Save before a time limit or a preemption; submitit calls this."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + _SAVING
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
        return DelayedSubmission(RunTask(self.path, self.threads, self.spread, self.environment))
