"""Expand a sweep's settings to runs, and check and name them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dlzoo import config as configs
from dlzoo.config import Config
from dlzoo.config import executor as executors
from dlzoo.config.overrides import expand, key_of, parse
from dlzoo.config.settings import SweepSettings
from dlzoo.config.sources import Sources
from dlzoo.core.errors import UserError
from dlzoo.core.schema import settings_of
from dlzoo.runs import sweep_file
from dlzoo.runs.differences import NAMES, NOT_COMPARED, flatten
from dlzoo.sweep.address import address, earlier_address, order_factors, words_of
from dlzoo.sweep.existing import find_by_settings, settings_key
from dlzoo.sweep.request import SweepRequest

#: Most letters of a sweep's name; file systems allow 255 bytes.
_LONGEST = 60


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: its overrides, its composed config, and its directory."""

    overrides: list[str]
    config: Config
    path: Path


@dataclass(frozen=True)
class SweepPlan:
    """A sweep before any of it is on disk.

    Args:
        name: the sweep's name; `named` is whether the user set it.
        varying: the keys with several values.
        common: the settings that all runs have in common, as typed; a seed is none, as it only repeats a run.
    """

    name: str
    named: bool
    folder: Path
    varying: list[str]
    runs: list[PlannedRun]
    kind: str
    executor: executors.Settings
    settings: SweepSettings
    common: list[str]


def plan(request: SweepRequest) -> SweepPlan:
    """Expand, compose and check every run of a sweep.

    Raises:
        UserError: for the first invalid run, before any folder is created.
    """
    run_words, about_all = [], {choice: [] for choice in configs.SWEEP_ONLY}
    for word in request.words:
        section = word.partition("=")[0].partition(".")[0]
        about_all.get(section, run_words).append(word)
    kind, executor = executors.parse_executor(about_all["executor"])
    settings = _settings(about_all["sweep"])
    combinations, varying = expand(run_words, configs.options)
    combinations = [[*arm, *lines] for arm in request.arms or [[]] for lines in combinations]
    varying = [*_differing_keys(request.arms), *varying]
    _refuse_several(varying)
    state, several = configs.conf_state(), len(combinations) > 1
    composed = [_compose([*request.common, *lines], request.written, state, several) for lines in combinations]
    _refuse_single_arm(request, varying)
    if any(config["run_dir"] for config in composed):
        raise UserError("run_dir is for a single run; set sweep.dir=PATH for a sweep")
    names = {config["name"] for config in composed}
    if len(names) > 1:
        raise UserError(
            f"the runs have different names ({', '.join(map(str, names))}); set one name=... for all of them"
        )
    set_name = names.pop()
    name = set_name or request.name or "-".join([request.kind, *sorted(key.rpartition(".")[2] for key in varying)])
    parts = Path(name).parts
    if Path(name).is_absolute() or not parts or ".." in parts or max(map(len, parts)) > _LONGEST:
        raise UserError(f"name={name} cannot be a folder in outputs/; set sweep.dir=PATH for a folder elsewhere")
    folder = Path(os.path.expanduser(settings.dir)) if settings.dir else Path("outputs") / name
    composed = [config | {"name": name} for config in composed]
    runs = _placed_runs(request, folder, combinations, composed, varying)
    # Every arm gets its first seed before any gets its second, so that early results can be compared.
    ordered = sorted(runs, key=lambda run: run.config["seed"])
    named = set_name is not None or request.name is not None
    common = _common([run.overrides for run in ordered])
    return SweepPlan(name, named, folder, varying, ordered, kind, executor, settings, common)


def _placed_runs(
    request: SweepRequest, folder: Path, combinations: list[list[str]], composed: list[Config], varying: Sequence[str]
) -> list[PlannedRun]:
    """Return the different runs, each with its directory: the one that it has already, or a new one."""
    words = [words_of(lines, config) for lines, config in zip(combinations, composed, strict=True)]
    settings = [flatten(config) for config in composed]
    factors = [*sweep_file.read(folder).order, *request.factors, *varying]
    ordered = order_factors(factors, {key: [each.get(key) for each in settings] for key in factors})
    runs: dict[str, PlannedRun] = {}
    for lines, config, own in zip(combinations, composed, words, strict=True):
        run = PlannedRun([*request.common, *lines], config, folder / address(own, ordered))
        other = runs.setdefault(run.path.name, run)
        assert other.config == config, f"two runs at {run.path}"
    if not folder.is_dir() or all(run.path.exists() for run in runs.values()):
        return list(runs.values())
    # Trials of a search are looked for one by one: reading all other trials for each would take quadratic time.
    there = {} if request.factors else find_by_settings(folder)
    earlier = {address(own, ordered): folder / earlier_address(own) for own in words}
    for name, run in runs.items():
        path = there.get(settings_key(run.config), earlier[name])
        if not run.path.exists() and path.exists():
            runs[name] = replace(run, path=path)
    return list(runs.values())


def _common(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return the settings that all runs have, as typed, without the seed and what does not change a result."""
    others = [set(lines) for lines in overrides[1:]]
    common = [line for line in overrides[0] if all(line in lines for lines in others)]
    return [line for line in common if key_of(line).partition(".")[0] not in (*NOT_COMPARED, "seed")]


def _refuse_several(varying: Sequence[str]) -> None:
    for key in (key for key in varying if key.partition(".")[0] in NOT_COMPARED):
        if key in NAMES:
            raise UserError(f"{key} has several values, but a sweep has one name and one folder (sweep.dir=PATH)")
        raise UserError(f"{key} has several values, but does not change a result: all runs of a sweep have the same"
                        " hooks; for a list, type hooks=[tensorboard,csv]")  # fmt: skip


def _refuse_single_arm(request: SweepRequest, varying: Sequence[str]) -> None:
    if request.kind == "compare" and not {*varying} - {"seed"}:
        raise UserError("a comparison needs several values of a setting, as in norm=bn,gn, or several arms in quotes;"
                        " dlzoo train -m runs one with several seeds")  # fmt: skip


def _differing_keys(arms: Sequence[Sequence[str]]) -> list[str]:
    """Return the keys that differ between the arms."""
    keys = dict.fromkeys(word.partition("=")[0] for arm in arms for word in arm)
    return [key for key in keys if len({tuple(w for w in arm if w.partition("=")[0] == key) for arm in arms}) > 1]


def _settings(lines: Sequence[str]) -> SweepSettings:
    known = settings_of(SweepSettings)
    typed, sources = {}, {}
    for line in lines:
        override = parse(line)
        if override.is_sweep_override():
            raise UserError(f"{line!r}: it applies to all runs and has one value")
        typed[override.key_or_group.partition(".")[2]] = override.value()
        sources[override.key_or_group] = line
    defaults = {key: schema["default"] for key, schema in known.items()}
    return SweepSettings(**configs.check_section("sweep", "a sweep", defaults | typed, Sources(sources), known))


def _compose(lines: list[str], written: Collection[str], state: configs.ConfState, several: bool) -> Config:
    try:
        return configs.compose(lines, in_sweep=True, written=written, state=state)
    except UserError as error:
        raise (UserError(f"{error} (in the run {' '.join(lines)})") if several else error) from None
