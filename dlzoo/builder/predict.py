"""`dlzoo predict`: predictions of a run's network for image files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dlzoo.builder.model import network_from_config
from dlzoo.builder.weights import load_weights, transfer, without_weights
from dlzoo.config import read, with_changes
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AFTER_TRAINING, AUGMENTS, TASKS
from dlzoo.core.terminal import in_one_line
from dlzoo.data.transforms.augment import output_size
from dlzoo.data.transforms.batch import Normalise
from dlzoo.runs.locations import MOVABLE, is_place
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import Prediction, TaskSpec


def predict(
    path: str, files: Sequence[str], most: int = 5, out: str | None = None, conditions: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return {"file": ..., ...} for each image file, in the form of the run's task (tasks.base.TaskSpec.predict).

    Args:
        path: the run directory.
        most: the maximum number of predictions per file.
        out: a folder for the plots; None for the run's own.
        conditions: settings of choices that apply after training, such as nms=diou_nms.

    Raises:
        UserError: if `path` is not a run with a checkpoint, a file is not an image, `out` cannot be written or already
            has such files, or a condition cannot be set.
    """
    run = RunDir.open(path)
    if not files:
        raise UserError("name one or more images: dlzoo predict run=DIR FILE ...")
    record, config = run.read(), without_weights(read(run.config_file))
    spec = spec_of(record)
    others = [word for word in conditions if not is_place(word)]  # the data of the run is not read
    spec.check_prediction(record, path, others, out)
    if conditions:
        config = with_changes(config, conditions, (*AFTER_TRAINING, *MOVABLE))
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
    with torch.inference_mode():
        return spec.predict(Prediction(run.path, config, record, network.eval(), normalise, files, most, out))


def spec_of(record: dict[str, Any]) -> TaskSpec:
    """Return the task of a run, from its run.json."""
    return TASKS.build(record["task"])


def format_predictions(path: str, answers: Sequence[dict[str, Any]]) -> list[str]:
    """Format what `predict` returned for the run at `path`, one line per file."""
    spec = spec_of(RunDir.open(path).read())
    return [f"{in_one_line(answer['file'])}: {spec.format_prediction(answer)}" for answer in answers]
