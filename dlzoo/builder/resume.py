"""Build the objects of a run that exists: from its checkpoint, with its data where that is now."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from dlzoo.builder.trainer import Assembled
from dlzoo.builder.weights import without_weights
from dlzoo.config import Config, with_changes
from dlzoo.core import distributed
from dlzoo.core.errors import UserError
from dlzoo.engine.recipe import Recorder
from dlzoo.runs.locations import MOVABLE, PATHS
from dlzoo.runs.run_dir import RunDir

if TYPE_CHECKING:
    from pytorch_lightning import Callback


class NotResumedError(UserError):
    """An error before the first step."""


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


def assemble(
    run: RunDir,
    config: Config,
    before: Mapping[str, Any],
    record: Recorder = lambda step, epoch, values: None,
    callbacks: Sequence[Callback] = (),
) -> Assembled:
    """Build the objects of a run, with the weights of its last checkpoint if it has one.

    Raises:
        NotResumedError: if that fails; if the data has changed since the run started, or differs between ranks.
    """
    try:
        return _assemble(run, config, before, record, callbacks)
    except UserError as error:
        raise NotResumedError(str(error)) from error


def _assemble(
    run: RunDir, config: Config, before: Mapping[str, Any], record: Recorder, callbacks: Sequence[Callback]
) -> Assembled:
    checkpoint = run.resume_checkpoint()
    # A checkpoint includes pretrained weights: they need not be loaded again.
    assembled = Assembled(without_weights(config) if checkpoint else config, record, callbacks=callbacks)
    if checkpoint:
        if before.get("data_fingerprint") != assembled.data.fingerprint:
            raise UserError(f"{run.path}: the data has changed since the run started; start a new run")
        assembled.load(checkpoint)
        torch.set_num_threads(before["threads"])  # as at the start: the number decides how sums are rounded
    if distributed.is_distributed() and len(set(distributed.all_gather(assembled.data.fingerprint))) > 1:
        raise UserError(f"{run.path}: the data differs between ranks; give every machine the same files")
    return assembled
