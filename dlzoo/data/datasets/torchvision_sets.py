"""Published data sets, downloaded and verified by torchvision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST, VisionDataset

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.image_set import ImageSet
from dlzoo.data.split import Split
from dlzoo.data.storage.remember import file_lock


@DATASETS.register("cifar10", source="Krizhevsky 2009", augment="flip_crop")
def cifar10(*, root: str = "data", download: bool = False) -> ImageSet:
    """60,000 colour images of 32x32 pixels, 10 classes; 50,000 to train on."""
    return _image_set("cifar10", CIFAR10, root, download)


@DATASETS.register("cifar100", source="Krizhevsky 2009", augment="flip_crop")
def cifar100(*, root: str = "data", download: bool = False) -> ImageSet:
    """60,000 colour images of 32x32 pixels, 100 classes; 50,000 to train on."""
    return _image_set("cifar100", CIFAR100, root, download)


@DATASETS.register("fashion_mnist", source="arXiv:1708.07747", augment="flip_crop")
def fashion_mnist(*, root: str = "data", download: bool = False) -> ImageSet:
    """70,000 grey images of 28x28 pixels, 10 classes of clothing; 60,000 to train on."""
    return _image_set("fashion_mnist", FashionMNIST, root, download)


def _image_set(name: str, dataset: Callable[..., VisionDataset], root: str, download: bool) -> ImageSet:
    try:
        with _lock_folder(Path(root)) if download else nullcontext():
            train, test = (dataset(root, train=part, download=download) for part in (True, False))
        return ImageSet(_split(train), _split(test), tuple(getattr(train, "classes")))  # noqa: B009
    except Exception as error:
        # A damaged file can make torchvision raise any exception.
        if isinstance(error, URLError):
            raise UserError(f"data={name}: the download failed ({error.reason}); check the network") from error
        remedy = "delete its files and try again" if download else "set data.download=true, or data.root=<folder>"
        raise UserError(f"data={name}: not found in {root!r}, or incomplete; {remedy}") from error


def _lock_folder(root: Path) -> AbstractContextManager[None]:
    """Lock the folder: ranks, and the runs of a sweep, start at the same time, and only one may download."""
    root.mkdir(parents=True, exist_ok=True)
    return file_lock(root / ".lock")


def _split(dataset: Any) -> Split:
    images = torch.as_tensor(np.asarray(dataset.data))
    return Split(images if images.dim() == 4 else images.unsqueeze(-1), torch.as_tensor(dataset.targets))
