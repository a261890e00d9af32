"""`dlzoo predict`: predictions of a run's network for image files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlzoo.builder.given import check_given_for_files
from dlzoo.builder.model import network_from_config
from dlzoo.builder.weights import load_weights, transfer, without_weights
from dlzoo.config import Config, read, with_changes
from dlzoo.config.settings import PredictSettings
from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import AFTER_TRAINING, AUGMENTS, TASKS
from dlzoo.core.terminal import in_one_line
from dlzoo.data.storage.decode import check_images
from dlzoo.data.storage.image_file import FULL_RANGE
from dlzoo.data.storage.value_range import find_deep
from dlzoo.data.transforms.augment import output_size
from dlzoo.data.transforms.batch import Normalise
from dlzoo.runs import own_parts
from dlzoo.runs.locations import MOVABLE, is_place
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import TaskSpec
from dlzoo.tasks.prediction import Prediction

_DEFAULTS = PredictSettings()


def predict(
    path: str,
    files: Sequence[str],
    most: int = 5,
    out: str | None = None,
    conditions: Sequence[str] = (),
    settings: PredictSettings = _DEFAULTS,
) -> list[dict[str, Any]]:
    """Return {"file": ..., ...} for each image file, in the form of the run's task (tasks.base.TaskSpec.predict).

    Args:
        path: the run directory.
        most: the maximum number of predictions per file.
        out: a folder for the plots; None for the run's own.
        conditions: settings of choices that apply after training, such as nms=diou_nms.
        settings: what happens to files that are not images, and how large images are drawn.

    Raises:
        UserError: if `path` is not a run with a checkpoint, a file is not an image (unless left out), `out` cannot be
            written or already has such files, or a condition cannot be set.
    """
    run = RunDir.open(path)
    if not files:
        raise UserError("name one or more images: dlzoo predict run=DIR FILE ...")
    with own_parts.using_kept(run.path, run.read()):
        return _predict(run, files, most, out, conditions, settings)


def _predict(
    run: RunDir, files: Sequence[str], most: int, out: str | None, conditions: Sequence[str], settings: PredictSettings
) -> list[dict[str, Any]]:
    record, config = run.read(), without_weights(read(run.config_file))
    check_given_for_files(run.path, config, record)
    spec = spec_of(record)
    others = [word for word in conditions if not is_place(word)]  # the data of the run is not read
    spec.check_prediction(record, str(run.path), others, out)
    if conditions:
        config = with_changes(config, conditions, (*AFTER_TRAINING, *MOVABLE))
    if settings.on_bad == "skip":
        files = _leave_out_bad(files)
    if record.get("value_range") is None:
        _note_deep(files)
    network, normalise = _trained(run, config, record, spec)
    request = Prediction(run.path, config, record, network, normalise, files, most, out, settings.full_size)
    with torch.inference_mode():
        return spec.predict(request)


def _leave_out_bad(files: Sequence[str]) -> list[str]:
    """Return the files that are complete images; a note names the others.

    Raises:
        UserError: if there is none.
    """
    bad = check_images([Path(file) for file in files])
    if bad:
        names = ", ".join(files[index] for index in bad)
        message = f"{len(bad)} of {len(files)} image(s) left out: {names}; the first: {next(iter(bad.values()))}"
        if len(bad) == len(files):
            raise UserError(message)
        warnings.warn(message, Note, stacklevel=4)
    return [file for index, file in enumerate(files) if index not in bad]


def _note_deep(files: Sequence[str]) -> None:
    """Report images of 16 bits, for a run that has recorded no range of values for them."""
    if deep := find_deep([Path(file) for file in files]):
        low, high = FULL_RANGE
        warnings.warn(f"{len(deep)} of {len(files)} image(s), such as {files[deep[0]]}, have 16 bits per channel, and"
                      f" are read with the range {low} to {high}; the training images had 8 bits, or filled this range",
                      Note, stacklevel=3)  # fmt: skip


def _trained(run: RunDir, config: Config, record: dict[str, Any], spec: TaskSpec) -> tuple[nn.Module, Normalise]:
    """Return the trained network in evaluation mode, and the normalisation of its images."""
    state, normalisation = load_weights(run.path)
    channels, (_, augment) = record["in_channels"], AUGMENTS.from_section(config["augment"])
    wiring = {
        "num_classes": len(record["classes"]),
        "in_channels": channels,
        "image_size": output_size(augment, record["image_size"]),
        **spec.recorded_arguments(record),
    }
    network = network_from_config(config, wiring)
    normalise = Normalise(torch.zeros(channels), torch.ones(channels))
    transfer(state, network, str(run.path))
    transfer(normalisation, normalise, str(run.path))
    return network.eval(), normalise


def spec_of(record: dict[str, Any]) -> TaskSpec:
    """Return the task of a run, from its run.json."""
    return TASKS.build(record["task"])


def format_predictions(path: str, answers: Sequence[dict[str, Any]]) -> list[str]:
    """Format what `predict` returned for the run at `path`, one line per file."""
    run = RunDir.open(path)
    with own_parts.using_kept(run.path, run.read()):
        spec = spec_of(run.read())
    return [in_one_line(f"{answer['file']}: {spec.format_prediction(answer)}") for answer in answers]
