"""Detection of objects in images by the network of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, shorten, write_atomically
from dlzoo.core.registries import NMS
from dlzoo.data.storage.image_file import Conversion
from dlzoo.data.storage.image_source import ImageSource
from dlzoo.data.transforms.letterbox import Fit, fit_to_square, load_image
from dlzoo.tasks.base import Answer
from dlzoo.tasks.detection.drawing import draw_detections
from dlzoo.tasks.detection.metrics.error_types import MIN_SCORE
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.postprocess import describe_detections, select_detections, to_original
from dlzoo.tasks.prediction import FileRequest, Prediction, Preprocess, Trained, conversion_of

#: Bytes of a name that a drawn copy takes from its image: a name may have 255, and "-found-123456.png" is added.
_LONGEST = 230
#: The file of all detections.
_ALL = "predictions.json"


@dataclass(frozen=True)
class CanvasReader:
    """Reads an image as a detector sees it: uint8 (C, S, S), letterboxed or stretched as the run's data.

    Args:
        side: the side of the canvas in pixels.
        fit: how an image is placed on it.
        conversion: how transparent and 16-bit images are read.
        channels: 3, or 1 for grey images.
    """

    side: int
    fit: Fit
    conversion: Conversion
    channels: int = 3

    def __call__(self, image: ImageSource) -> Tensor:
        return self.place(load_image(image, conversion=self.conversion))

    def place(self, image: Image.Image) -> Tensor:
        """Return an image that was read, on its canvas."""
        seen = image.convert("L") if self.channels == 1 else image
        return torch.from_numpy(fit_to_square(seen, self.side, self.fit).copy()).permute(2, 0, 1)


@dataclass(frozen=True, eq=False)
class ObjectPrediction(Prediction):
    """The objects in one image, best first.

    Args:
        boxes: (D, 4) float32, x1, y1, x2, y2 in pixels of the image.
        labels: D names of classes.
        scores: (D,) float32, 0 to 1.
    """

    boxes: np.ndarray
    labels: tuple[str, ...]
    scores: np.ndarray

    def above(self, score: float) -> ObjectPrediction:
        """Return the objects with at least this score; `dlzoo predict` shows those with 0.3."""
        kept = self.scores >= np.float32(score)
        labels = tuple(label for label, keep in zip(self.labels, kept, strict=True) if keep)
        return ObjectPrediction(self.boxes[kept], labels, self.scores[kept])

    def as_dict(self) -> dict[str, Any]:
        return {"objects": describe_detections(self.rows(self.labels), self.labels)}

    def rows(self, classes: Sequence[str]) -> Tensor:
        """Return the objects as a tensor (D, 6): x1, y1, x2, y2, score, index in `classes`."""
        indices = np.array([classes.index(label) for label in self.labels], np.float32)
        return torch.from_numpy(np.concatenate([self.boxes, self.scores[:, None], indices[:, None]], 1))


def predict_objects(images: Sequence[ImageSource], trained: Trained) -> list[ObjectPrediction]:
    """Return the objects in each image, of any score, after the suppression that the config names.

    Raises:
        UserError: if a file is not an image.
    """
    assert isinstance(trained.preprocess, Preprocess)
    reader, classes, detector = trained.preprocess.read, trained.record["classes"], trained.network
    assert isinstance(detector, Detector)
    assert isinstance(reader, CanvasReader)
    settings, nms = NMS.from_section(trained.config["nms"])
    predictions = []
    for source in images:
        image = load_image(source, conversion=reader.conversion)
        pixels = reader.place(image)[None]
        candidates = detector.candidates(detector(trained.preprocess.normalise(pixels)))
        detected = select_detections(*candidates, nms=nms, settings=settings)
        (rows,) = to_original(detected, torch.tensor([image.size]), reader.side, reader.fit)
        found = rows[rows[:, 4] > 0].numpy()
        labels = tuple(classes[int(index)] for index in found[:, 5])
        predictions.append(ObjectPrediction(found[:, :4].copy(), labels, found[:, 4].copy()))
    return predictions


def draw_objects(request: FileRequest, trained: Trained) -> list[Answer]:
    """Return {"file", "objects": [{"name", "score", "box": [x1, y1, x2, y2]}, ...], "picture"} of each file.

    Boxes are in pixels of the image, and drawn on a copy of it in the folder `request.out` (None: the run's
    `predictions`), where predictions.json lists all detections, of any score.

    Raises:
        UserError: if a file is not an image, or the folder cannot be written or has such files already.
    """
    files, classes = request.files, trained.record["classes"]
    in_run, out = request.out is None, trained.path / "predictions" if request.out is None else Path(request.out)
    names, answers = _names(files), []
    _refuse_lost(out, names, [] if in_run else [*names, _ALL], files)
    conversion = conversion_of(trained.config, trained.record)
    # All files are read before anything is drawn.
    for file, name, found in zip(files, names, predict_objects([Path(file) for file in files], trained), strict=True):
        image = load_image(Path(file), conversion=conversion)
        drawn = draw_detections(image, found.above(MIN_SCORE).rows(classes), classes, full_size=request.full_size)
        answers.append({"file": file} | found.as_dict() | {"picture": _save(drawn, out / name)})
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
