"""Predictions of the network of a run: what they need, and what they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS
from dlzoo.data.storage.image_file import DEFAULT_CONVERSION, Conversion, read_image
from dlzoo.data.storage.image_source import Images, ImageSource, image_sources
from dlzoo.data.transforms.augment import transform_for_test
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.test_time import make_views


class Prediction(ABC):
    """What a network predicts for one image. Each task has a class of its own."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as plain values, as `dlzoo predict --json` prints them."""


@dataclass(frozen=True)
class SquareReader:
    """Reads an image as a classifier sees it: uint8 (C, S, S), resized, centre-cropped, before normalisation.

    Args:
        size: the side of the square in pixels.
        channels: 3, or 1 for grey images.
        conversion: how transparent and 16-bit images are read.
    """

    size: int
    channels: int
    conversion: Conversion

    def __call__(self, image: ImageSource) -> Tensor:
        mode = "RGB" if self.channels == 3 else "L"
        return torch.from_numpy(read_image(image, self.size, mode, conversion=self.conversion).copy()).permute(2, 0, 1)


@dataclass(frozen=True)
class Preprocess:
    """Images -> the input of a run's network, (N, C, H, W) float32 on the CPU.

    Args:
        read: one image -> uint8 pixels (C, H, W).
        augment: the augment section of the run's config, whose evaluation transform is applied. Not the augmentation
            itself: it cannot always be pickled, and with it the network.
        normalise: uint8 images (N, C, H, W) -> the network's input.
    """

    read: Callable[[ImageSource], Tensor]
    augment: Config
    normalise: Normalise

    def __call__(self, images: Images) -> Tensor:
        """Return the network's input for one image or several; paths, PIL images, arrays (H, W, C), tensors (C, H, W).

        Raises:
            UserError: for something that is not an image.
        """
        pixels = torch.stack([self.read(source) for source in image_sources(images)])
        _, augment = AUGMENTS.from_section(self.augment)
        with torch.no_grad():
            return self.normalise(transform_for_test(augment, pixels))


@dataclass(frozen=True)
class Trained:
    """The network of a run, and what its task needs to predict with it.

    Args:
        path: the run directory.
        config, record: its config and the content of its run.json.
        network: the trained network in evaluation mode, on the CPU.
        preprocess: images -> the network's input.
        state: the state dict of the checkpoint: of the network ("network.") and of other modules of the task.
    """

    path: Path
    config: Config
    record: dict[str, Any]
    network: nn.Module
    preprocess: Preprocess
    state: Mapping[str, Tensor]

    def outputs(self, image: ImageSource) -> Tensor:
        """Return the outputs (K,) of the network for one image, averaged over the views of the run's augment.test."""
        settings, augment = AUGMENTS.from_section(self.config["augment"])
        views = torch.cat(make_views(settings.test, augment)(self.preprocess.read(image)[None]))
        return self.network(self.preprocess.normalise(views)).mean(0)


@dataclass(frozen=True)
class FileRequest:
    """A request for predictions for image files, and for drawings of them.

    Args:
        files: image files.
        most: the largest number of results for a file.
        out: a folder for the drawn images; None for the run's own.
        full_size: whether drawn images keep a size above 4 megapixels.
    """

    files: Sequence[str]
    most: int = 5
    out: str | None = None
    full_size: bool = False


def conversion_of(config: Config, record: Mapping[str, Any]) -> Conversion:
    """Return how transparent and 16-bit images are read: as those that the network was trained on."""
    background = config["data"].get("background", DEFAULT_CONVERSION.background)
    low, high = record.get("value_range") or DEFAULT_CONVERSION.value_range
    return Conversion(background, (low, high))


def refuse_options(record: Mapping[str, Any], path: str, conditions: Sequence[str], out: str | None) -> None:
    """Refuse the options of `dlzoo predict` that only detectors have, and tables.

    Raises:
        UserError: for such an option, or for a run that was trained on a table.
    """
    if conditions:
        raise UserError(f"{conditions[0]}: {path} is not a detector, so it does not use non-maximum suppression")
    if record.get("kind", "images") == "table":
        raise UserError(f"{path} was trained on a table, but predictions are made for images")
    if out is not None:
        raise UserError(f"--out: {path} is not a detector, so it draws nothing; use --json to get its results as JSON")
