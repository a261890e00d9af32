"""Check that every run of a sweep is feasible before the first one starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from dlzoo.builder.compatibility import load_data
from dlzoo.builder.recipe import RunRecipe
from dlzoo.builder.trainer import Assembled
from dlzoo.config import Config
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits
from dlzoo.engine.hooks.build import check_installed
from dlzoo.runs.differences import NAMES
from dlzoo.sweep.plan import PlannedRun


def refuse_infeasible(runs: Sequence[PlannedRun]) -> None:
    """Check everything that can be checked without running.

    Raises:
        UserError: for the first run that is not feasible.
    """
    for same, data in runs_by_kind(runs):
        config = same[0].config
        try:
            check_installed(config)
            run_recipe(config, data)
            if config["init_from"] or config["freeze"] != "none":
                # Whether weights fit is known only when they are loaded.
                Assembled(to_one_cpu(config), data=data)
        except UserError as error:
            raise name_run(same[0], error) from None


def runs_by_kind(runs: Sequence[PlannedRun]) -> Iterator[tuple[list[PlannedRun], Splits]]:
    """Yield the runs that differ only in their seed, with their data, which is loaded once for all runs that share it.

    Raises:
        UserError: if the data is missing.
    """
    for _, sharing in groupby(sorted(runs, key=_data), key=_data):
        sharing = list(sharing)
        try:
            data = load_data(sharing[0].config)
        except UserError as error:
            raise name_run(sharing[0], error) from None
        for _, same in groupby(sorted(sharing, key=_settings), key=_settings):
            yield list(same), data


def run_recipe(config: Config, data: Splits) -> RunRecipe:
    """Return the recipe of a run on the number of devices that it sets; `all` counts as one."""
    return RunRecipe(config, data, world_size(config))


def world_size(config: Config) -> int:
    """Return the number of processes that share a batch, as far as the config sets it."""
    devices = config["trainer"]["devices"]
    return (1 if devices == "all" else devices) * config["trainer"]["nodes"]


def to_one_cpu(config: Config) -> Config:
    """Return the config of the same run on one CPU, in fp32."""
    here = {"accelerator": "cpu", "precision": "fp32", "devices": 1, "nodes": 1, "compile": False}
    return config | {"trainer": config["trainer"] | here}


def name_run(run: PlannedRun, error: UserError) -> UserError:
    """Return the error with the overrides of its run."""
    return UserError(f"{error} (in the run {' '.join(run.overrides)})" if run.overrides else str(error))


def _data(run: PlannedRun) -> str:
    """Return what determines the loaded data: the data section of a run, and the tasks of its model."""
    tasks = index.marks("model", run.config["model"]["name"]).tasks
    return json.dumps([run.config["data"], tasks], sort_keys=True)


def _settings(run: PlannedRun) -> str:
    return json.dumps({key: value for key, value in run.config.items() if key not in ("seed", *NAMES)}, sort_keys=True)
