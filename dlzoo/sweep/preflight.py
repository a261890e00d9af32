"""Whether every run of a sweep can be carried out, found out before the first one starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from dlzoo.builder.recipe import RunRecipe
from dlzoo.builder.trainer import Assembled
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits
from dlzoo.runs.differences import NAMES
from dlzoo.sweep.plan import Config, Planned


def refuse_infeasible(runs: Sequence[Planned]) -> None:
    """Everything that can be known without carrying a run out.

    Raises:
        UserError: for the first that cannot be.
    """
    for same, data in kinds(runs):
        config = same[0].config
        try:
            run_recipe(config, data)
            if config["init_from"] or config["freeze"] != "none":
                # Weights are known to fit when they have been loaded.
                Assembled(on_one_cpu(config), data=data)
        except UserError as error:
            raise in_the_run(same[0], error) from None


def kinds(runs: Sequence[Planned]) -> Iterator[tuple[list[Planned], Splits]]:
    """The runs that differ in their seed only, together with their data, which is loaded once for all that share it.

    Raises:
        UserError: if the data is not there.
    """
    for _, sharing in groupby(sorted(runs, key=_data), key=_data):
        sharing = list(sharing)
        try:
            data = Splits.load(*_loaded(sharing[0]))
        except UserError as error:
            raise in_the_run(sharing[0], error) from None
        for _, same in groupby(sorted(sharing, key=_settings), key=_settings):
            yield list(same), data


def run_recipe(config: Config, data: Splits) -> RunRecipe:
    """The recipe of a run on as many devices as it says; `all` is known only where it runs."""
    return RunRecipe(config, data, world(config))


def world(config: Config) -> int:
    """The processes that share a batch, as far as the config says."""
    devices = config["trainer"]["devices"]
    return (1 if devices == "all" else devices) * config["trainer"]["nodes"]


def on_one_cpu(config: Config) -> Config:
    """The same run, where it need not have what it asks for."""
    here = {"accelerator": "cpu", "precision": "fp32", "devices": 1, "nodes": 1, "compile": False}
    return config | {"trainer": config["trainer"] | here}


def in_the_run(run: Planned, error: UserError) -> UserError:
    """The same error, with the run that has it."""
    return UserError(f"{error} (in the run {' '.join(run.overrides)})" if run.overrides else str(error))


def _loaded(run: Planned) -> tuple[Config, list[str]]:
    """The data section of a run, and what its model can learn: they decide which data is loaded."""
    return run.config["data"], list(index.marks("model", run.config["model"]["name"]).tasks)


def _data(run: Planned) -> str:
    return json.dumps(_loaded(run), sort_keys=True)


def _settings(run: Planned) -> str:
    return json.dumps({key: value for key, value in run.config.items() if key not in ("seed", *NAMES)}, sort_keys=True)
