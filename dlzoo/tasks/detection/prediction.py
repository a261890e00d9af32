"""Detection of objects in images by the network of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dlzoo.core.files import write_atomically
from dlzoo.core.registries import NMS
from dlzoo.data.storage.image_file import Conversion
from dlzoo.data.storage.image_source import ImageSource
from dlzoo.data.transforms.letterbox import Fit, fit_to_square, load_image
from dlzoo.tasks.base import Answer
from dlzoo.tasks.detection.drawing import draw_detections
from dlzoo.tasks.detection.metrics.error_types import MIN_SCORE
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.postprocess import describe_detections, select_detections, to_original
from dlzoo.tasks.output_files import output_names, refuse_lost, refusing_write_errors, save_image
from dlzoo.tasks.prediction import FileRequest, Prediction, Preprocess, Trained, conversion_of

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

    Objects have a score of 0.3 or more; without one there is "highest_score", the highest of a detection. Boxes are in
    pixels of the image, and drawn on a copy of it in the folder `request.out` (None: the run's
    `predictions`), where predictions.json lists all detections, of any score.

    Raises:
        UserError: if a file is not an image, or the folder cannot be written or has such files already.
    """
    files, classes = request.files, trained.record["classes"]
    in_run, out = request.out is None, trained.path / "predictions" if request.out is None else Path(request.out)
    names, answers = output_names(files, "-found.png"), []
    refuse_lost(out, names, [] if in_run else [*names, _ALL], files)
    conversion = conversion_of(trained.config, trained.record)
    # All files are read before anything is drawn.
    for file, name, found in zip(files, names, predict_objects([Path(file) for file in files], trained), strict=True):
        image = load_image(Path(file), conversion=conversion)
        drawn = draw_detections(image, found.above(MIN_SCORE).rows(classes), classes, full_size=request.full_size)
        answers.append({"file": file} | found.as_dict() | {"picture": save_image(drawn, out / name)})
    with refusing_write_errors(out / _ALL):
        write_atomically(out / _ALL, json.dumps(answers, indent=1) + "\n")
    return [_shown(answer) for answer in answers]


def names_of_objects(answer: Answer) -> str:
    """Return the shown objects of an answer with their scores; without one, the highest score."""
    if answer["objects"]:
        return ", ".join(f"{one['name']} {one['score']:.0%}" for one in answer["objects"])
    highest = answer.get("highest_score", 0.0)
    known = f" (the highest is {highest:.0%}; {_ALL} has all)" if highest else ""
    return f"no objects with a score of {MIN_SCORE:.0%} or more{known}"


def _shown(answer: Answer) -> Answer:
    """Return an answer with the objects of a score of 0.3 or more; without one, with the highest score."""
    objects = [one for one in answer["objects"] if one["score"] >= MIN_SCORE]
    below = {} if objects else {"highest_score": max((one["score"] for one in answer["objects"]), default=0.0)}
    return answer | {"objects": objects} | below
