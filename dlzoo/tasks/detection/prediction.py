"""Detection of objects in image files by the network of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, shorten, write_atomically
from dlzoo.core.registries import NMS
from dlzoo.data.transforms.letterbox import fit_to_square, load_image
from dlzoo.tasks.base import Answer
from dlzoo.tasks.detection.drawing import draw_detections
from dlzoo.tasks.detection.metrics.error_types import MIN_SCORE
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.postprocess import describe_detections, select_detections, to_original
from dlzoo.tasks.prediction import Prediction

#: Bytes of a name that a drawn copy takes from its image: a name may have 255, and "-found-123456.png" is added.
_LONGEST = 230
#: The file of all detections.
_ALL = "predictions.json"


def predict_objects(request: Prediction) -> list[Answer]:
    """Return {"file", "objects": [{"name", "score", "box": [x1, y1, x2, y2]}, ...], "picture"} of each file.

    Boxes are in pixels of the image, and drawn on a copy of it in the folder `request.out` (None: the run's
    `predictions`), where predictions.json lists all detections, of any score.

    Raises:
        UserError: if a file is not an image, or the folder cannot be written or has such files already.
    """
    record, files, detector = request.record, request.files, request.network
    in_run, out = request.out is None, request.path / "predictions" if request.out is None else Path(request.out)
    side, classes, fit = record["image_size"], record["classes"], record["fit"]
    assert isinstance(detector, Detector)
    settings, nms = NMS.from_section(request.config["nms"])
    names, answers = _names(files), []
    _refuse_lost(out, names, [] if in_run else [*names, _ALL], files)
    for file in files:  # find bad files before drawing anything
        load_image(Path(file), conversion=request.conversion)
    for file, name in zip(files, names, strict=True):
        image = load_image(Path(file), conversion=request.conversion)
        pixels = torch.from_numpy(fit_to_square(image, side, fit).copy()).permute(2, 0, 1)[None]
        candidates = detector.candidates(detector(request.normalise(pixels)))
        detected = select_detections(*candidates, nms=nms, settings=settings)
        (rows,) = to_original(detected, torch.tensor([image.size]), side, fit)
        drawn = draw_detections(image, rows[rows[:, 4] >= MIN_SCORE], classes, full_size=request.full_size)
        path = _save(drawn, out / name)
        answers.append({"file": file, "objects": describe_detections(rows, classes), "picture": path})
    with _refuse_write_errors(out / _ALL):
        write_atomically(out / _ALL, json.dumps(answers, indent=1) + "\n")
    return [answer | {"objects": [one for one in answer["objects"] if one["score"] >= MIN_SCORE]} for answer in answers]


def _names(files: Sequence[str]) -> list[str]:
    """Return a name for the drawn copy of each file; images of the same name get a number."""
    names: list[str] = []
    for file in files:
        stem, number = f"{_shortened(Path(file).stem)}-found", 1
        name = stem
        while f"{name}.png" in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(f"{name}.png")
    return names


def _shortened(stem: str) -> str:
    """Return the name of an image, cut at the end if that of its drawn copy would be too long for a file system."""
    name = os.fsencode(stem)
    return stem if len(name) <= _LONGEST else name[:_LONGEST].decode(errors="ignore")


def _refuse_lost(out: Path, names: Sequence[str], kept: Sequence[str], files: Sequence[str]) -> None:
    """Refuse to overwrite files of the user: the input images, and in a folder of theirs any file, `kept`."""
    inputs = [Path(file).resolve() for file in files]
    for name in names:
        if (out / name).resolve() in inputs:
            raise UserError(f"--out: {out / name} is one of the input images; choose another folder")
    for name in kept:
        if (out / name).exists():
            raise UserError(f"--out: {out / name} already exists; choose another folder, or move the file away")


def _save(drawn: Image.Image, path: Path) -> str:
    """Write an image and return its path."""
    with _refuse_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(path, compress_level=1)  # a tenth larger than at 6, and several times as fast
    return str(path)


@contextmanager
def _refuse_write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{shorten(path)}: cannot be written ({reason(error)}); name another folder with --out"
        ) from error
