"""Predictions of a run's network: for image files, as `dlzoo predict` prints them, for images, and for rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dlzoo.builder.given import check_given_for_files
from dlzoo.builder.model import network_from_config
from dlzoo.builder.predict_rows import RunRowPreprocess
from dlzoo.builder.weights import child_state, load_state, trained_state, transfer, without_weights
from dlzoo.config import read, with_changes
from dlzoo.config.settings import PredictSettings
from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import AFTER_TRAINING, AUGMENTS, TASKS
from dlzoo.core.terminal import in_one_line
from dlzoo.data.storage.decode import check_images
from dlzoo.data.storage.image_file import FULL_RANGE
from dlzoo.data.storage.image_source import image_sources
from dlzoo.data.storage.value_range import find_deep
from dlzoo.data.transforms.augment import output_size
from dlzoo.data.transforms.batch import Normalise
from dlzoo.runs import kept_parts
from dlzoo.runs.locations import MOVABLE, is_place
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import TaskSpec
from dlzoo.tasks.prediction import FileRequest, Prediction, Preprocess, Trained

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
    with kept_parts.using_kept(run.path, run.read()):
        check_predicts(run, conditions, out)
        if _is_of_rows(run.read()):
            raise UserError(f"{run.path} was trained on a table, but `dlzoo predict` takes images; in Python,"
                            f" dlzoo.load('{run.path}').predict(rows) takes rows of a table")  # fmt: skip
        if settings.on_bad == "skip":
            files = _leave_out_bad(files)
        if run.read().get("value_range") is None:
            _note_deep(files)
        trained = load_trained(run, conditions)
        with torch.inference_mode():
            return spec_of(trained.record).predict_files(FileRequest(files, most, out, settings.full_size), trained)


def predict_inputs(trained: Trained, inputs: Any, most: int = 5) -> Sequence[Prediction]:
    """Return the prediction for each image, or for each row of a table, in any of the forms that `Run.predict` takes.

    Raises:
        UserError: for something that is not an image, or no row of the table that the run was trained on.
    """
    if type(most) is not int or most < 1:
        raise UserError(f"most must be an integer >= 1, not {most!r}")
    spec = spec_of(trained.record)
    with torch.inference_mode():
        if _is_of_rows(trained.record):
            return spec.predict_rows(trained.preprocess(inputs), trained, most)
        return spec.predict(image_sources(inputs), trained, most)


def _is_of_rows(record: Mapping[str, Any]) -> bool:
    """Return whether a run was trained on a table, from its run.json."""
    return record.get("kind", "images") == "table"


def check_predicts(run: RunDir, conditions: Sequence[str] = (), out: str | None = None) -> None:
    """Check whether a run can make predictions, under these conditions and with this folder for plots.

    Raises:
        UserError: if it cannot.
    """
    run.selected_checkpoint()  # without one the run may have no task yet
    check_given_for_files(run.path, read(run.config_file), run.read())
    others = [word for word in conditions if not is_place(word)]  # the data of the run is not read
    spec_of(run.read()).check_prediction(run.read(), str(run.path), others, out)


class Network(nn.Module):
    """The type of what `with_preprocess` returns, for type checkers: a network of any class with one attribute more.

    Attributes:
        preprocess: images, or rows of a table -> its input (N, C, H, W) float32 on the CPU.
    """

    preprocess: Callable[[Any], Tensor]


def with_preprocess(trained: Trained) -> Network:
    """Return the network with `preprocess` as an attribute, which is not part of its state dict."""
    network = cast("Network", trained.network)
    network.preprocess = trained.preprocess
    return network


def load_trained(run: RunDir, conditions: Sequence[str] = ()) -> Trained:
    """Return the network of a run with the weights that it reports, and what prepares its images.

    Args:
        conditions: as `predict` takes them.

    Raises:
        UserError: if the run has no checkpoint, or a condition cannot be set.
    """
    state = load_state(run.selected_checkpoint())
    record, config = run.read(), without_weights(read(run.config_file))
    if absent := [name for name in ("task", "classes", "in_channels", "image_size") if name not in record]:
        raise UserError(f"{run.state_file}: cannot be used: {absent[0]} is missing")
    if conditions:
        config = with_changes(config, conditions, (*AFTER_TRAINING, *MOVABLE))
    _, augment = AUGMENTS.from_section(config["augment"])
    spec, channels = spec_of(record), record["in_channels"]
    wiring = {
        "num_classes": len(record["classes"]),
        "in_channels": channels,
        "image_size": output_size(augment, record["image_size"]),
        **spec.recorded_arguments(record),
    }
    network = network_from_config(config, wiring)
    normalise = Normalise(torch.zeros(channels), torch.ones(channels))
    transfer(trained_state(state), network, str(run.path))
    transfer(child_state(state, "normalise"), normalise, str(run.path))
    if _is_of_rows(record):
        preprocess = RunRowPreprocess(run.path, [word for word in conditions if is_place(word)], normalise)
    else:
        preprocess = Preprocess(spec.image_reader(config, record), config["augment"], normalise)
    return Trained(run.path, config, record, network.eval(), preprocess, state)


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


def spec_of(record: dict[str, Any]) -> TaskSpec:
    """Return the task of a run, from its run.json."""
    return TASKS.build(record["task"])


def format_predictions(path: str, answers: Sequence[dict[str, Any]]) -> list[str]:
    """Format what `predict` returned for the run at `path`, one line per file."""
    run = RunDir.open(path)
    with kept_parts.using_kept(run.path, run.read()):
        spec = spec_of(run.read())
    return [in_one_line(f"{answer['file']}: {spec.format_prediction(answer)}") for answer in answers]
