"""Checks that a run may start or resume: same ranks, config and callbacks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pytorch_lightning import Callback

from dlzoo.builder.given import check_given
from dlzoo.config import Config
from dlzoo.core import distributed
from dlzoo.core.distributed import Rank
from dlzoo.core.errors import UserError
from dlzoo.runs.differences import flatten
from dlzoo.runs.run_dir import RunDir

#: Prefix of a hook's name among the callbacks in run.json.
_HOOK = "hook "


def check_ranks(run: RunDir, config: Config, expected: int, begun: int, rank: Rank) -> None:
    """Check that all ranks run the same run.

    Raises:
        UserError: if their number is not that of the config or of the run's start, or they read different configs.
    """
    if rank.world_size != expected:
        settings = ", ".join(f"trainer.{key}={config['trainer'][key]}" for key in ("devices", "nodes"))
        raise UserError(
            f"{run.config_file} has {settings}, but {rank.world_size} ranks were started for {expected} devices"
        )
    if rank.world_size != begun:
        raise UserError(
            f"{run.path} was started on {begun} devices and cannot resume on {rank.world_size}; start a new run"
        )
    if len(set(distributed.all_gather(json.dumps(config, sort_keys=True)))) > 1:
        raise UserError(f"{run.config_file} differs between ranks; put {run.path} on storage that all ranks share")


def callback_names(callbacks: Sequence[Callback], hooks: Iterable[str]) -> list[str]:
    """Return the names of a run's Lightning callbacks: those passed to `train`, and those among its hooks."""
    return [*(type(callback).__name__ for callback in callbacks), *(f"{_HOOK}{name}" for name in hooks)]


def check_unchanged(
    run: RunDir, config: Config, before: dict[str, Any], callbacks: Sequence[Callback], hooks: Iterable[str] = ()
) -> None:
    """Check that a run resumes with the config, the objects and the callbacks that it started with.

    Args:
        callbacks: those passed to `train`.
        hooks: names of the hooks that are Lightning callbacks; other hooks may change.

    Raises:
        UserError: if its config was edited, or the callbacks or the classes of objects differ.
    """
    check_given(run.path, config)
    names = callback_names(callbacks, hooks)
    names_before = before.get("callbacks", names)
    hooks_before, hooks_now = (
        [name.removeprefix(_HOOK) for name in each if name.startswith(_HOOK)] for each in (names_before, names)
    )
    if hooks_before != hooks_now:
        raise UserError(
            f"{run.config_file}: the hooks that are Lightning callbacks were {hooks_before or 'none'} when the run"
            f" started, and are {hooks_now or 'none'} now; undo the change of hooks"
        )
    if names_before != names:
        raise UserError(
            f"{run.path} was started with callbacks={before['callbacks']}, not {names}; resume it with"
            f" dlzoo.train(['resume={run.path}'], callbacks=[...])"
        )
    if edited := _edited(config, before):
        raise UserError(f"{run.config_file} was edited after the run was created ({edited}); start a new run")


def check_unchanged_since_the_end(run: RunDir, config: Config, before: dict[str, Any]) -> None:
    """Check that the config of a finished run is the one that it was run with.

    Raises:
        UserError: if its config was edited.
    """
    if edited := _edited(config, before):
        raise UserError(
            f"{run.config_file} was edited after the run had finished ({edited}); undo the change, or start a new run"
            f" from its weights with init_from={run.path}"
        )


def _edited(config: Config, before: dict[str, Any]) -> str:
    """Describe the first setting of a config that differs from the one in run.json."""
    now, then = flatten(config), flatten(before["config"])
    return next((f"{key}: {then.get(key)} -> {now[key]}" for key in now if now[key] != then.get(key)), "")
