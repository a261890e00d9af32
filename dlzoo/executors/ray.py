"""Runs as jobs of a Ray cluster."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from typing import Any

from dlzoo.errors import UserError, first_line
from dlzoo.executors.job import Config, Executor, Job, fate_of, wants_gpu
from dlzoo.executors.settings import RaySettings
from dlzoo.launch import command
from dlzoo.runs.run_dir import RunDir
from dlzoo.settings import TrainerSettings


class RayExecutor(Executor):
    """One job a run, which reserves its cores and GPUs and outlives us. Every machine sees the run directories."""

    detached = True

    def __init__(self, settings: RaySettings) -> None:
        try:
            from ray.job_submission import JobSubmissionClient  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError(f"executor=ray needs Ray: pip install 'dlzoo[ray]' ({error})") from error
        address = settings.address or os.environ.get("RAY_API_SERVER_ADDRESS") or "http://127.0.0.1:8265"
        try:
            self._client = JobSubmissionClient(address)
        except (ConnectionError, RuntimeError) as error:
            raise UserError(f"executor=ray: no cluster answers at {address}; `ray start --head` starts one") from error
        self._settings, self._address, self._jobs = settings, address, list[_RayJob]()

    def check(self, config: Config) -> None:
        trainer = TrainerSettings(**config["trainer"])
        if trainer.nodes > 1 or trainer.devices == "all":
            raise UserError("executor=ray: a run is one machine's, and says how many devices: trainer.devices=4")

    def has_room(self, config: Config) -> bool:
        self._jobs = [job for job in self._jobs if not job.over()]
        return self._settings.workers is None or len(self._jobs) < self._settings.workers

    def start(self, run: RunDir, config: Config) -> Job:
        trainer = TrainerSettings(**config["trainer"])
        assert trainer.devices != "all"
        threads, output = trainer.threads or self._settings.threads, str(run.output_file.absolute())
        words = ["env", f"OMP_NUM_THREADS={threads}", *command(run.path.absolute())]
        name = f"dlzoo-{hashlib.sha1(output.encode()).hexdigest()[:10]}-{time.time_ns()}"
        # Where we are: a config may hold relative paths. exec: a signal reaches the run itself.
        line = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)} >> {shlex.quote(output)} 2>&1"
        try:
            self._client.submit_job(
                entrypoint=line,
                submission_id=name,
                entrypoint_num_cpus=threads * trainer.devices,
                entrypoint_num_gpus=trainer.devices if wants_gpu(config) else None,
                metadata={"run": str(run.path)},
            )
        except RuntimeError as error:
            raise UserError(f"Ray refused {run.path.name}: {first_line(error)}") from error
        run.update(job={"executor": "ray", "id": name})
        job = _RayJob(self._client, name, run)
        self._jobs.append(job)
        return job

    def find(self, run: RunDir, name: dict[str, str]) -> Job | None:
        if name["executor"] != "ray":
            return None
        job = _RayJob(self._client, name["id"], run)
        return None if job.over() else job

    def describe(self) -> str:
        many = "all at once" if self._settings.workers is None else f"{self._settings.workers} at a time"
        return f"ray at {self._address}, {many}"


class _RayJob(Job):
    def __init__(self, client: Any, name: str, run: RunDir) -> None:
        self._client, self._name, self._run = client, name, run

    def over(self) -> bool:
        try:
            return self._client.get_job_status(self._name).is_terminal()
        except RuntimeError:  # the cluster that knew of it is gone
            return True

    def fate(self) -> str | None:
        try:
            job = self._client.get_job_info(self._name)
        except RuntimeError as error:
            return first_line(error)
        code = job.driver_exit_code
        # A shell says 128 + n of a process that signal n ended.
        return job.message if code is None else fate_of(128 - code if code > 130 else code, self._run)

    def stop(self, at_once: bool = False) -> None:
        self._client.stop_job(self._name)
