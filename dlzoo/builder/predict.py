"""`dlzoo predict`: classes for pictures, or the objects in them, by the network of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dlzoo.builder.profile import network_of, without_weights
from dlzoo.builder.weights import load_weights, transfer
from dlzoo.config import changed, read
from dlzoo.core.errors import UserError
from dlzoo.core.registry import AUGMENTS, NMS
from dlzoo.data.loader import Normalise
from dlzoo.data.storage.decode import read_picture
from dlzoo.data.transforms.augment import size_after
from dlzoo.data.transforms.letterbox import fitted_picture, open_picture
from dlzoo.data.transforms.test_time import views
from dlzoo.runs.run_dir import RunDir, write_atomically
from dlzoo.tasks.detection.metrics.error_types import SURE
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.module import in_picture, said
from dlzoo.tasks.detection.plots import drawn
from dlzoo.tasks.detection.postprocess import detections

Config = dict[str, Any]
Record = dict[str, Any]

#: The file of all that was found.
_ALL = "predictions.json"


def predict(
    path: str, files: Sequence[str], most: int = 5, out: str | None = None, conditions: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """For each picture {"file", "classes": [{"name", "probability"}, ...]}, the likeliest first, at most `most`.

    Of a detector {"file", "objects": [{"name", "score", "box": [x1, y1, x2, y2]}, ...], "picture"}: the boxes are in
    pixels of the picture, and drawn on a copy of it in the folder `out` (null: the run's `predictions`), where all that
    was found, however unlikely, stands in predictions.json. `conditions` are other settings of its nms.

    Raises:
        UserError: if `path` is no run with a checkpoint, a file is no picture, `out` cannot be written or has such
            files already, or a condition is none.
    """
    run = RunDir.open(path)
    if not files:
        raise UserError("name one or more pictures: dlzoo predict run=DIR FILE ...")
    record, config = run.read(), without_weights(read(run.config_file))
    kind = record.get("kind", "images")
    if conditions and kind != "boxes":
        raise UserError(f"{conditions[0]}: {path} finds no objects, and has no suppression")
    if conditions:
        config = changed(config, conditions, ("nms",))
    if kind == "table":
        raise UserError(f"{path} was trained on a table, and dlzoo predict is for pictures")
    if out is not None and kind != "boxes":
        raise UserError(f"--out: {path} finds no objects that could be drawn; it says classes, and --json as JSON")
    with torch.inference_mode():
        if kind == "boxes":
            return _objects(run, config, record, files, out)
        return _classes(run, config, record, files, most)


def _network(run: RunDir, config: Config, record: Record, size: int) -> tuple[Normalise, nn.Module]:
    """What makes uint8 images (N, C, H, W) the inputs of the run's network, and that network."""
    state, normalisation = load_weights(run.path)
    channels, classes = record["in_channels"], record["classes"]
    wiring: dict[str, Any] = {"num_classes": len(classes), "in_channels": channels, "image_size": size}
    if record["task"] == "detect":
        wiring["exclusive"] = record["exclusive"]
    network = network_of(config, wiring)
    normalise = Normalise(torch.zeros(channels), torch.ones(channels))
    transfer(state, network, str(run.path))
    transfer(normalisation, normalise, str(run.path))
    return normalise, network.eval()


def _classes(run: RunDir, config: Config, record: Record, files: Sequence[str], most: int) -> list[dict[str, Any]]:
    size, classes = record["image_size"], record["classes"]
    settings, augment = AUGMENTS.from_section(config["augment"])
    normalise, network = _network(run, config, record, size_after(augment, size))
    answers = []
    for file in files:
        pixels = torch.from_numpy(read_picture(Path(file), size, "RGB" if record["in_channels"] == 3 else "L").copy())
        seen = torch.cat(views(settings.test, augment)(pixels.permute(2, 0, 1)[None]))
        top = network(normalise(seen)).mean(0).softmax(0).topk(min(most, len(classes)))
        pairs = zip(top.values.tolist(), top.indices.tolist(), strict=True)
        found = [{"name": classes[index], "probability": probability} for probability, index in pairs]
        answers.append({"file": file, "classes": found})
    return answers


def _objects(
    run: RunDir, config: Config, record: Record, files: Sequence[str], folder: str | None
) -> list[dict[str, Any]]:
    own, out = folder is None, run.path / "predictions" if folder is None else Path(folder)
    side, classes = record["image_size"], record["classes"]
    normalise, detector = _network(run, config, record, side)
    assert isinstance(detector, Detector)
    settings, suppress = NMS.from_section(config["nms"])
    names, answers = _names(files), []
    _refuse_lost(out, names, [] if own else [*names, _ALL], files)
    for file in files:  # a bad one is known before anything is drawn
        open_picture(Path(file))
    for file, name in zip(files, names, strict=True):
        picture = open_picture(Path(file))
        pixels = torch.from_numpy(fitted_picture(picture, side, record["fit"]).copy()).permute(2, 0, 1)[None]
        found = detections(*detector.candidates(detector(normalise(pixels))), suppress=suppress, settings=settings)
        (rows,) = in_picture(found, torch.tensor([picture.size]), side, record["fit"])
        answers.append(
            {"file": file, "objects": said(rows, classes), "picture": _draw(picture, rows, classes, out / name)}
        )
    with _written(out / _ALL):
        write_atomically(out / _ALL, json.dumps(answers, indent=1) + "\n")
    return [answer | {"objects": [one for one in answer["objects"] if one["score"] >= SURE]} for answer in answers]


def _names(files: Sequence[str]) -> list[str]:
    """A name for the drawn copy of each file; two pictures of one name get a number."""
    names: list[str] = []
    for file in files:
        stem, number = f"{Path(file).stem}-found", 1
        name = stem
        while f"{name}.png" in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(f"{name}.png")
    return names


def _refuse_lost(out: Path, names: Sequence[str], kept: Sequence[str], files: Sequence[str]) -> None:
    """Nothing of the user's is written over: no picture, and in a folder of theirs, `kept`, no file at all."""
    given = [Path(file).resolve() for file in files]
    for name in names:
        if (out / name).resolve() in given:
            raise UserError(f"--out: {out / name} is one of the pictures; choose another folder")
    for name in kept:
        if (out / name).exists():
            raise UserError(f"--out: {out / name} is there already; choose another folder, or move it away")


def _draw(picture: Image.Image, rows: Tensor, classes: Sequence[str], path: Path) -> str:
    """Draw what is likely on a copy of the picture; where that lies."""
    with _written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(np.asarray(picture), rows[rows[:, 4] >= SURE], classes).save(path)
    return str(path)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--out: {path} cannot be written ({error.strerror or error})") from error
