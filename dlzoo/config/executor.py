"""The executor of a sweep and its settings: a file under conf/executor, overridden by what the user typed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import getdoc
from typing import Annotated, Any

from dlzoo import config
from dlzoo.config.overrides import parse
from dlzoo.config.sources import Sources
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core.errors import UserError
from dlzoo.core.schema import Bounds, Positive, PositiveInt, Processes, settings_of


@dataclass(frozen=True)
class LocalSettings:
    """`workers`: number of parallel runs; null: the number of cores, or of GPUs times `runs_per_gpu`.
    `threads`: cores per process of a run; null: an equal share.
    """

    workers: PositiveInt | None = None
    threads: Processes | None = None
    runs_per_gpu: Processes = 1


@dataclass(frozen=True)
class SlurmSettings:
    """`workers`: number of jobs in the queue at a time; null: all (for slurm_local: the number of cores).
    `threads`: cores per process of a run.
    `minutes`: time limit of a job; the run saves a checkpoint before it and resumes in a new job.
    `memory`: GB per machine; null: the cluster's default.
    `partition`, `account`, `qos`, `constraint`: Slurm's options of these names; slurm_local ignores them.
    `setup`: shell lines before the run.
    The output of a run is in its output.txt, the files of submitit are in .jobs/ of the sweep.
    """

    workers: PositiveInt | None = None
    threads: Processes = 1
    minutes: Annotated[int, Bounds(minimum=5, maximum=1_000_000)] = 240
    memory: Positive | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class RaySettings:
    """`workers`: number of jobs in the queue at a time; null: all.
    `threads`: cores per process of a run.
    `address`: address of the cluster's job server, such as http://head:8265; null: the cluster of this machine.
    """

    workers: PositiveInt | None = None
    threads: Processes = 1
    address: str | None = None


Settings = LocalSettings | SlurmSettings | RaySettings

KINDS: dict[str, type[LocalSettings] | type[SlurmSettings] | type[RaySettings]] = {
    "local": LocalSettings,
    "slurm": SlurmSettings,
    "slurm_local": SlurmSettings,
    "ray": RaySettings,
}


def settings_for(name: str) -> dict[str, dict[str, Any]]:
    """Return the settings of executor=<name>, with the defaults of its file."""
    kind, written = _read_file(name)
    known = settings_of(KINDS[kind])
    return {key: schema | ({"default": written[key]} if key in written else {}) for key, schema in known.items()}


def describe_settings(name: str) -> str:
    """Return the description of the settings of executor=<name>."""
    return getdoc(KINDS[_read_file(name)[0]]) or ""


def parse_executor(lines: Iterable[str]) -> tuple[str, Settings]:
    """Return (kind, settings) from the words executor=<name> and executor.<key>=<value>.

    Raises:
        UserError: for an unknown name or key, or a value of the wrong type.
    """
    name, typed, sources = "local", {}, {}
    for line in lines:
        override = parse(line)
        if override.is_sweep_override():
            raise UserError(f"{line!r} has several values, but a sweep has one executor")
        key = override.key_or_group.partition(".")[2]
        if key:
            typed[key] = override.value()
            sources[override.key_or_group] = line
        else:
            name = str(override.value())
    if name not in config.options("executor"):
        raise config.unknown_name("executor", name)
    kind, written = _read_file(name)
    known = settings_of(KINDS[kind])
    defaults = {key: schema["default"] for key, schema in known.items()}
    values: dict[str, Any] = config.check_section(
        "executor", f"executor={name}", defaults | written | typed, Sources(sources), known
    )
    _refuse_line_breaks(values)
    arguments: Any = values | {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return kind, KINDS[kind](**arguments)


def _refuse_line_breaks(values: dict[str, Any]) -> None:
    """Check that no text has a line break, which would begin another line of a job's script.

    Raises:
        UserError: if one has.
    """
    for key, value in values.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and len(text.splitlines()) > 1:
                raise UserError(f"executor.{key}={text!r} has a line break; write it as one line")


def _read_file(name: str) -> tuple[str, dict[str, Any]]:
    """Return (kind, the other keys) of conf/executor/<name>.yaml."""
    path = config.file_of("executor", name)
    written = read_yaml(path) or {}
    kind = written.pop("kind", None) if isinstance(written, dict) else None
    if kind not in KINDS:
        raise UserError(f"{path}: kind must be {' or '.join(KINDS)}, not {kind!r}")
    return kind, written
