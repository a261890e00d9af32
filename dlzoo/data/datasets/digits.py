"""Handwritten digits of 8 by 8 pixels, included with scikit-learn: no download."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from dlzoo.core.registries import DATASETS
from dlzoo.data.image_set import ImageSet
from dlzoo.data.settings import cut
from dlzoo.data.split import Split


@DATASETS.register("digits", source="UCI Optical Recognition of Handwritten Digits, as in scikit-learn", augment="crop")
def digits() -> ImageSet:
    """1,797 grey images of 8x8 pixels, 10 classes; a fixed fifth of each class is the test split."""
    train, test = cut(Split(*_images_and_labels()), 0.2, seed=0, by_class=True)
    return ImageSet(train, test, tuple(str(digit) for digit in range(10)))


@cache  # reading the text file takes longer than a step
def _images_and_labels() -> tuple[Tensor, Tensor]:
    """Return uint8 images (1797, 8, 8, 1) and int64 labels (1797,)."""
    pixels, classes = load_digits(return_X_y=True)  # (1797, 64), 0 to 16
    levels = torch.from_numpy(pixels).view(-1, 8, 8)
    return (levels * 255 / 16).round().byte().unsqueeze(-1), torch.from_numpy(classes).long()
