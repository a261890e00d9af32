"""Predictions of the network of a run: what they need, and what they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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
    """What a network predicts for one image, or one row of a table. Each task has a class of its own."""

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
            UserError: for something that is not an image, or images of several sizes for a network that takes them.
        """
        read = [self.read(source) for source in image_sources(images)]
        sizes = sorted({f"{each.shape[2]}x{each.shape[1]}" for each in read})
        if len(sizes) > 1:
            raise UserError(f"the images are {' and '.join(sizes[:2])} px as the network sees them, and a batch has one"
                            " size: preprocess them one by one")  # fmt: skip
        pixels = torch.stack(read)
        _, augment = AUGMENTS.from_section(self.augment)
        with torch.no_grad():
            return self.normalise(transform_for_test(augment, pixels))


class RowPreprocess(Protocol):
    """Rows of a table -> the input of a run's network, (N, F, 1, 1) float32 on the CPU."""

    def __call__(self, rows: Any, /) -> Tensor:
        """Return the network's input for an array (N, columns), a data frame, or a list of dictionaries.

        Raises:
            UserError: if they are not rows of the table that the run was trained on.
        """
        ...


@dataclass(frozen=True)
class Trained:
    """The network of a run, and what its task needs to predict with it.

    Args:
        path: the run directory.
        config, record: its config and the content of its run.json.
        network: the trained network in evaluation mode, on the CPU.
        preprocess: images, or rows of a table -> the network's input.
        state: the state dict of the checkpoint: of the network ("network.") and of other modules of the task.
    """

    path: Path
    config: Config
    record: dict[str, Any]
    network: nn.Module
    preprocess: Preprocess | RowPreprocess
    state: Mapping[str, Tensor]

    def outputs(self, images: Sequence[ImageSource]) -> Iterator[Tensor]:
        """Yield the outputs (K,) of the network for each image, averaged over the views of the run's augment.test."""
        assert isinstance(self.preprocess, Preprocess)
        settings, augment = AUGMENTS.from_section(self.config["augment"])
        views = make_views(settings.test, augment)
        for image in images:
            seen = torch.cat(views(self.preprocess.read(image)[None]))
            yield self.network(self.preprocess.normalise(seen)).mean(0)


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


def refuse_options(path: str, conditions: Sequence[str], out: str | None) -> None:
    """Refuse the options of `dlzoo predict` that the task does not have.

    Raises:
        UserError: for such an option.
    """
    if conditions:
        raise UserError(f"{conditions[0]}: {path} is not a detector, so it does not use non-maximum suppression")
    if out is not None:
        raise UserError(f"--out: {path} is not a detector, so it draws nothing; use --json to get its results as JSON")
