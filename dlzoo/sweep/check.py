"""Whether every run of a sweep can be carried out, found out before the first one starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from dlzoo.blueprint import Blueprint
from dlzoo.data.splits import Splits
from dlzoo.errors import UserError
from dlzoo.runs.differences import NAMES, flat, said
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.plan import Config, Planned


def existing(runs: Sequence[Planned]) -> dict[str, str]:
    """address -> state, of those that are there already.

    Raises:
        UserError: if there is something else at an address, or a run with other settings.
    """
    states = {}
    for run in runs:
        if run.path.exists():
            record = RunDir.open(run.path).read()
            _refuse_another(run, flat(record["config"]), flat(run.config))
            states[run.path.name] = record["state"]
    return states


def _refuse_another(run: Planned, there: Config, wanted: Config) -> None:
    other = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
    if other:
        differences = ", ".join(f"{key}={said(there.get(key))} there, {said(wanted.get(key))} here" for key in other)
        raise UserError(f"{run.path} holds a run with other settings ({differences}); say another name= or sweep.dir=")


def different(runs: Sequence[Planned]) -> Iterator[tuple[list[Planned], Splits]]:
    """The runs that differ in their seed only, together with their data, which is loaded once for all that share it."""
    for section, sharing in groupby(sorted(runs, key=_data), key=_data):
        data = Splits.load(json.loads(section))
        for _, same in groupby(sorted(sharing, key=_settings), key=_settings):
            yield list(same), data


def check(runs: Sequence[Planned]) -> None:
    """Everything that can be known without carrying a run out.

    Raises:
        UserError: for the first that cannot be.
    """
    for same, data in different(runs):
        try:
            blueprint(same[0].config, data)
        except UserError as error:
            raise UserError(f"{error} (in the run {' '.join(same[0].overrides)})") from None


def blueprint(config: Config, data: Splits) -> Blueprint:
    """The blueprint of a run on as many devices as it says; `all` is known only where it runs."""
    devices = config["trainer"]["devices"]
    return Blueprint(config, data, (1 if devices == "all" else devices) * config["trainer"]["nodes"])


def _data(run: Planned) -> str:
    return json.dumps(run.config["data"], sort_keys=True)


def _settings(run: Planned) -> str:
    return json.dumps({key: value for key, value in run.config.items() if key not in ("seed", *NAMES)}, sort_keys=True)
