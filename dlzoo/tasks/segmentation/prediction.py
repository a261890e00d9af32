"""Segmentation of images by the network of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dlzoo.core.files import write_atomically
from dlzoo.data.storage.image_file import Conversion
from dlzoo.data.storage.image_source import ImageSource
from dlzoo.data.transforms.letterbox import load_image, resized
from dlzoo.tasks.base import Answer
from dlzoo.tasks.output_files import output_names, refuse_lost, refusing_write_errors, save_image, shrink
from dlzoo.tasks.prediction import FileRequest, Prediction, Preprocess, Trained, conversion_of
from dlzoo.tasks.segmentation.drawing import class_palette, overlay, palette_image
from dlzoo.tasks.segmentation.inference import Inference

#: The file of the areas of all classes.
_ALL = "predictions.json"


@dataclass(frozen=True)
class ImageReader:
    """Reads an image as a segmentation network sees it: uint8 (C, H, W), in its own proportions.

    Args:
        side: the longer side in pixels; None for images in their own size.
        conversion: how transparent and 16-bit images are read.
        channels: 3, or 1 for grey images.
    """

    side: int | None
    conversion: Conversion
    channels: int = 3

    def __call__(self, image: ImageSource) -> Tensor:
        return self.resize(load_image(image, conversion=self.conversion))

    def resize(self, image: Image.Image) -> Tensor:
        """Return the pixels of an image that was read."""
        seen = image.convert("L") if self.channels == 1 else image
        size = resized(seen.size, self.side)
        seen = seen if size == seen.size else seen.resize(size, Image.Resampling.BILINEAR)
        pixels = np.asarray(seen)
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).copy()).permute(2, 0, 1)


@dataclass(frozen=True, eq=False)
class MaskPrediction(Prediction):
    """The class of each pixel of one image.

    Args:
        mask: (H, W) uint8, in the size of the image: indices in `classes`.
        classes: names of the classes.
    """

    mask: NDArray[np.uint8]
    classes: tuple[str, ...]

    @property
    def areas(self) -> dict[str, float]:
        """The fraction of the pixels of each class that is in the image, the largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes)) / self.mask.size
        order = sorted(range(len(counts)), key=lambda number: -counts[number])
        return {self.classes[number]: float(counts[number]) for number in order if counts[number]}

    def as_dict(self) -> dict[str, Any]:
        return {"areas": self.areas}


def predict_masks(images: Sequence[ImageSource], trained: Trained, inference: Inference) -> list[MaskPrediction]:
    """Return the mask of each image, in the size of the image.

    Raises:
        UserError: if a file is not an image.
    """
    assert isinstance(trained.preprocess, Preprocess)
    reader, classes = trained.preprocess.read, tuple(trained.record["classes"])
    assert isinstance(reader, ImageReader)
    predictions = []
    for source in images:
        image = load_image(source, conversion=reader.conversion)
        with torch.no_grad():
            seen = trained.preprocess.normalise(reader.resize(image)[None])
            logits = inference.logits(trained.network, seen)
        predictions.append(MaskPrediction(_likeliest(logits, image.size).numpy(), classes))
    return predictions


def draw_masks(request: FileRequest, trained: Trained, inference: Inference) -> list[Answer]:
    """Return {"file", "areas": {class: fraction of the pixels}, "mask", "picture"} of each file.

    The mask is a PNG with a palette in the size of the image, and the picture the image with the mask over it; both are
    in the folder `request.out` (None: the run's `predictions`), where predictions.json lists all areas.

    Raises:
        UserError: if a file is not an image, or the folder cannot be written or has such files already.
    """
    files, in_run = request.files, request.out is None
    out = trained.path / "predictions" if request.out is None else Path(request.out)
    masks, pictures = output_names(files, "-mask.png"), output_names(files, "-overlay.png")
    refuse_lost(out, [*masks, *pictures], [] if in_run else [*masks, *pictures, _ALL], files)
    palette = class_palette(trained.record["classes"], trained.record.get("colours") or ())
    conversion, answers = conversion_of(trained.config, trained.record), []
    # All files are read before anything is drawn.
    found = predict_masks([Path(file) for file in files], trained, inference)
    for file, mask, picture, prediction in zip(files, masks, pictures, found, strict=True):
        image = load_image(Path(file), conversion=conversion)
        drawn = Image.fromarray(overlay(np.asarray(image), prediction.mask, palette))
        drawn = drawn if request.full_size else shrink(drawn)
        written = {
            "mask": save_image(palette_image(prediction.mask, palette), out / mask),
            "picture": save_image(drawn, out / picture),
        }
        answers.append({"file": file} | prediction.as_dict() | written)
    with refusing_write_errors(out / _ALL):
        write_atomically(out / _ALL, json.dumps(answers, indent=1) + "\n")
    return answers


def _likeliest(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the class with the largest logit of each pixel, (H, W) uint8, for logits (1, K, h, w) resized to `size`.

    One class at a time: the logits of all classes of a large image may not fit into the memory.
    """
    wide, high = size
    best = torch.full((high, wide), -torch.inf)
    mask = torch.zeros(high, wide, dtype=torch.uint8)
    for number in range(logits.shape[1]):
        resized = logits[:, number : number + 1]
        if resized.shape[2:] != (high, wide):
            resized = F.interpolate(resized, (high, wide), mode="bilinear", align_corners=False)
        better = resized[0, 0] > best
        best = torch.where(better, resized[0, 0], best)
        mask.masked_fill_(better, number)
    return mask
