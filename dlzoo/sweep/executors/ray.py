"""Execute runs as jobs of a Ray cluster."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from typing import Any

from dlzoo.builder.launch import command
from dlzoo.config import Config
from dlzoo.config.executor import RaySettings
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import write_atomically
from dlzoo.runs.kept_parts import environment_for
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Executor, Job, exit_reason_of, wants_gpu

#: Seconds between two status requests for a job.
_ASK = 1.0


class RayExecutor(Executor):
    """Executes each run as one detached job with its cores and GPUs. All machines share the run directories."""

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
        self._address, self.workers, self.threads = address, settings.workers, settings.threads

    def check(self, config: Config) -> None:
        trainer = TrainerSettings(**config["trainer"])
        if trainer.nodes > 1 or trainer.devices == "all":
            raise UserError("executor=ray: a run uses one machine and a given number of devices; set trainer.devices=4")

    def has_room(self, config: Config, going: int) -> bool:
        return self.workers is None or going < self.workers

    def start(self, run: RunDir, config: Config) -> Job:
        trainer = TrainerSettings(**config["trainer"])
        assert trainer.devices != "all"
        threads, output = trainer.threads or self.threads, str(run.output_file.absolute())
        variables = {"OMP_NUM_THREADS": str(threads)} | environment_for(run.path, run.read())
        words = ["env", *(f"{key}={value}" for key, value in variables.items()), *command(run.path.absolute())]
        name = f"dlzoo-{hashlib.sha1(output.encode()).hexdigest()[:10]}-{time.time_ns()}"
        # cd: a config may have relative paths. exec: a signal reaches the run itself.
        line = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(words)} >> {shlex.quote(output)} 2>&1"
        try:
            self._client.submit_job(
                entrypoint=line,
                submission_id=name,
                entrypoint_num_cpus=threads * trainer.devices,
                entrypoint_num_gpus=trainer.devices if wants_gpu(config) else None,
                metadata={"run": str(run.path)},
            )
        except (RuntimeError, OSError) as error:
            raise UserError(f"Ray refused {run.path.name}: {first_line(error)}") from error
        write_atomically(run.job_file, json.dumps({"executor": "ray", "id": name}) + "\n")
        return _RayJob(self._client, name, run)

    def find(self, run: RunDir, name: dict[str, str]) -> Job | None:
        if name["executor"] != "ray":
            return None
        job = _RayJob(self._client, name["id"], run)
        return None if job.ended() else job

    def describe(self) -> str:
        many = "all at once" if self.workers is None else f"{self.workers} at a time"
        return f"ray at {self._address}, {many}"


class _RayJob(Job):
    def __init__(self, client: Any, name: str, run: RunDir) -> None:
        self._client, self._name, self._run = client, name, run
        self._asked, self._over = 0.0, False

    def ended(self) -> bool:
        if not self._over and time.monotonic() - self._asked > _ASK:
            self._asked = time.monotonic()
            try:
                self._over = self._client.get_job_status(self._name).is_terminal()
            except RuntimeError as error:
                self._over = "status code 404" in str(error)  # the cluster does not know the job
            except OSError:  # the cluster does not answer now
                pass
        return self._over

    def exit_reason(self) -> str | None:
        try:
            job = self._client.get_job_info(self._name)
        except (RuntimeError, OSError) as error:
            return first_line(error)
        code = job.driver_exit_code
        # A shell exits with 128 + n for a process that was ended by signal n.
        return job.message if code is None else exit_reason_of(128 - code if code > 130 else code, self._run)

    def stop(self, at_once: bool = False) -> None:
        self._client.stop_job(self._name)
