"""The config of a run with the paths of its files where they are now."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from dlzoo.config import Config, with_changes
from dlzoo.core.errors import UserError
from dlzoo.runs.locations import MOVABLE, PATHS


def locate(config: Config, record: Mapping[str, Any], places: Sequence[str] = ()) -> Config:
    """Return the config of a run with the paths of its files where they are now.

    A path that was typed is relative to the folder that the run was created from, so the absolute one of its run.json
    comes first: in another folder there may be other data of the same name. If it does not exist, the whole project may
    have been moved, and the path that was typed is used.

    Args:
        record: the run's run.json.
        places: settings that say where data is now: data.root=moved.

    Raises:
        UserError: if the data of a run that has begun is in neither place; if a place is not one of `MOVABLE`.
    """
    found = with_changes(config, places, MOVABLE) if places else deepcopy(config)
    typed = {word.partition("=")[0] for word in places}
    for key in (key for key in PATHS if key in record.get("paths", {})):
        path = record["paths"][key]
        section, _, name = key.rpartition(".")
        settings = found[section] if section else found
        here = os.path.abspath(os.path.expanduser(settings.get(name) or ""))
        if key in typed or not settings.get(name):
            continue
        if here != path and os.path.exists(path):
            settings[name] = path
        elif key in MOVABLE and "data_fingerprint" in record and not os.path.exists(here):
            raise UserError(f"{key}: {path!r} no longer exists; if the data was moved, set {key}=<new path>")
    return found
