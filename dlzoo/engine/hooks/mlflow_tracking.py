"""MLflow: runs in a SQLite file or on a server. The module imports no torch: the follower uses it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.registries import HOOKS
from dlzoo.engine.hooks.follower_hook import FollowerHook
from dlzoo.engine.hooks.hook import Hook, Record
from dlzoo.engine.hooks.sender import FollowedRun, Sender
from dlzoo.runs.lock import Lock
from dlzoo.runs.logged import metrics_of

#: Limits of MLflow's REST API: metrics and parameters of a batch, characters of a parameter.
_METRICS, _PARAMS, _LONGEST = 1000, 100, 6000
_STATES = {"finished": "FINISHED", "failed": "FAILED"}
_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
#: For a server that does not answer: MLflow would try for minutes.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class MlflowSender(Sender):
    """Sends metrics with the steps and times of the records."""

    def __init__(self, uri: str, typed: str | None, experiment: str) -> None:
        self._uri, self._typed, self._experiment = uri, typed, experiment
        self._last: Record = {"step": 0, "time": 0}

    def open(self, run: FollowedRun, memory: dict[str, Any]) -> None:
        if memory.get("typed", self._typed) == self._typed and _exists(memory.get("uri", self._uri)):
            self._uri = memory.get("uri", self._uri)  # also if the run is resumed from another folder
        for name, value in {**_IMPATIENT, "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
            os.environ.setdefault(name, value)
        self._entities = import_module("mlflow.entities")
        with _one_at_a_time(self._uri):
            self._client = import_module("mlflow.tracking").MlflowClient(self._uri)
            experiment = self._experiment_id()
        if memory.get("uri") == self._uri and "run_id" in memory:
            self._id = memory["run_id"]
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {"dlzoo.run_dir": str(run.dir)}
            self._id = self._client.create_run(experiment, run_name=run.label, tags=tags).info.run_id
            memory |= {"uri": self._uri, "typed": self._typed, "run_id": self._id}
        params = [self._entities.Param(name, str(value)[:_LONGEST]) for name, value in run.settings.items()]
        for first in range(0, len(params), _PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _PARAMS])

    def has(self, record: Record) -> bool:
        name = _spell(next(iter(metrics_of(record))))
        return any(point.step == record["step"] for point in self._client.get_metric_history(self._id, name))

    def send(self, records: Sequence[Record]) -> None:
        batch: list[Any] = []
        for record in records:
            metrics = self._metrics(metrics_of(record), record)
            if len(batch) + len(metrics) > _METRICS:
                self._client.log_batch(self._id, metrics=batch)
                batch = []
            batch += metrics
        self._client.log_batch(self._id, metrics=batch)
        self._last = records[-1]

    def close(self, state: str, metrics: Mapping[str, float]) -> None:
        if metrics:
            final = {f"final/{name}": value for name, value in metrics.items()}
            self._client.log_batch(self._id, metrics=self._metrics(final, self._last))
        self._client.set_terminated(self._id, _STATES.get(state, "KILLED"))

    def _metrics(self, values: Mapping[str, Any], at: Record) -> list[Any]:
        """Return MLflow's metrics of some values, with the time and step of a record."""
        make, milliseconds = self._entities.Metric, round(1000 * at["time"])
        return [
            make(_spell(name), math.nan if value is None else value, milliseconds, at["step"])
            for name, value in values.items()
        ]

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(self._experiment)
        except Exception:
            found = self._client.get_experiment_by_name(self._experiment)  # another run was faster
            if found is None:
                raise
            return found.experiment_id


def _spell(name: str) -> str:
    """Return a metric's name with the characters that MLflow takes."""
    return re.sub(r"[^\w./ :-]", "_", name)


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Wait for other runs of a sweep that are about to make the tables of the same SQLite file."""
    path = _file(uri)
    lock = None if path is None else Lock.on(path.with_name(f".{path.name}.lock"), tries=6000)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _file(uri: str) -> Path | None:
    """Return the file of a SQLite URI."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _exists(uri: str) -> bool:
    path = _file(uri)
    return path is None or path.exists()


def resolve(uri: str) -> str:
    """Return a tracking URI with an absolute path.

    Raises:
        UserError: for a plain folder, another scheme, or a SQLite file in a folder that does not exist.
    """
    example = "type a SQLite file, sqlite:///mlflow.db, or a server, http://host:5000"
    scheme, separator, rest = uri.partition("://")
    if uri == "databricks":
        return uri
    if not separator or scheme == "file":
        raise UserError(f"hook.mlflow.tracking_uri={uri}: MLflow 3 does not write to plain folders; {example}")
    if scheme.partition("+")[0] not in _SCHEMES:
        raise UserError(f"hook.mlflow.tracking_uri={uri}: unknown scheme {scheme!r}; {example}")
    if scheme != "sqlite":
        return uri
    if not rest.startswith("/") or rest in ("/", "/:memory:"):
        raise UserError(f"hook.mlflow.tracking_uri={uri}: a path follows three slashes; {example}")
    path = Path(os.path.expanduser(rest[1:])).absolute()
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"hook.mlflow.tracking_uri={uri}: {path} cannot be a file: its folder does not exist, or it is"
                        " a folder")  # fmt: skip
    return f"sqlite:///{path}"


@HOOKS.register("mlflow", source="MLflow 3, tracking API", package="mlflow")
def mlflow(*, tracking_uri: str | None = None, experiment: str = "dlzoo") -> Hook:
    """Metrics, settings and the state of the run in MLflow.

    `tracking_uri`: a SQLite file (sqlite:///mlflow.db, relative to the current folder) or a server (http://host:5000);
    null: the environment variable MLFLOW_TRACKING_URI, or else sqlite:///mlflow.db.
    `experiment`: the experiment that gets the run; it is created if there is none of that name.

    Raises:
        UserError: if `tracking_uri` is a plain folder, or cannot be one of these.
    """
    typed = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    settings = {"uri": resolve(typed or "sqlite:///mlflow.db"), "typed": typed, "experiment": experiment}
    return FollowerHook("mlflow", f"{__name__}:MlflowSender", settings)
