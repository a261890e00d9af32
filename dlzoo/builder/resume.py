"""Build the objects of a run that exists, from its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from dlzoo.builder.trainer import Assembled
from dlzoo.builder.weights import without_weights
from dlzoo.config import Config
from dlzoo.core import distributed
from dlzoo.core.errors import UserError
from dlzoo.engine.recipe import Recorder
from dlzoo.runs.run_dir import RunDir

if TYPE_CHECKING:
    from pytorch_lightning import Callback


class NotResumedError(UserError):
    """An error before the first step."""


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
