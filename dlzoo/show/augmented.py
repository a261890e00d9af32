"""What an augmentation makes of the images of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlzoo.builder.compatibility import refuse_odd_ones
from dlzoo.core.errors import UserError
from dlzoo.core.registry import AUGMENTS
from dlzoo.core.rng import Streams
from dlzoo.data.image_set import Split
from dlzoo.data.loader import Normalise, TrainFeed
from dlzoo.data.settings import balanced_order
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import Augment
from dlzoo.metrics.plots import image_grid
from dlzoo.show.curves import title
from dlzoo.tasks.detection.plots import drawn
from dlzoo.tasks.detection.transforms import BoxMixer

Config = dict[str, Any]

_IMAGES, _EPOCHS = 8, 7


def of_augment(config: Config) -> Figure:
    """A row an image: as it is, then as a training sees it in its first epochs.

    Raises:
        UserError: if the data is not there, or has no images.
    """
    data = Splits.load(config["data"])
    if data.kind == "table":
        raise UserError(f"data={config['data']['name']} is a table: show augment is for images")
    refuse_odd_ones(config, data, 1)
    settings, augment = AUGMENTS.from_section(config["augment"])
    if data.kind == "boxes":
        return _with_boxes(config, data, augment, settings.box_mixer())
    few = balanced_order(data.train.labels, config["data"]["split_seed"])[:_IMAGES]
    originals, labels = data.train.images[few], data.train.labels[few]
    split = Split(originals, labels)
    normalise = Normalise(*data.statistics())
    mixer = settings.mixer(len(data.classes))
    feed = TrainFeed(split, normalise, augment, Streams(config["seed"]), len(split), mixer=mixer)
    grid = [[(pixels, data.classes[label])] for pixels, label in zip(originals, labels.tolist(), strict=True)]
    for epoch in range(_EPOCHS):
        (batch,) = feed.batches(epoch)  # one step an epoch
        for place, image, label in zip(feed.order(epoch).tolist(), batch.images, batch.labels, strict=True):
            pixels = (image.permute(1, 2, 0) - normalise.shift.flatten()) / normalise.scale.flatten()
            words = _words(label, data.classes) if label.is_floating_point() else ""
            grid[place].append((pixels.round().clamp(0, 255).byte(), words))
    cells = [cell for row in grid for cell in row]
    named = f"{title('augment', config['augment'])}; on the left the image as it is"
    return image_grid([pixels for pixels, _ in cells], [words for _, words in cells], named, _EPOCHS + 1)


def _with_boxes(config: Config, data: Splits, augment: Augment, mixer: BoxMixer) -> Figure:
    """The same, of images with objects: their boxes are drawn."""
    split = data.train.take(torch.arange(min(_IMAGES, len(data.train))))
    normalise = Normalise(torch.zeros(3), torch.full((3,), 1 / 255))
    feed = TrainFeed(split, normalise, augment, Streams(config["seed"]), len(split), box_mixer=mixer)
    grid = [[_boxed(pixels, rows, data.classes)] for pixels, rows in zip(split.images[:], split.labels, strict=True)]
    for epoch in range(_EPOCHS):
        (batch,) = feed.batches(epoch)
        for place, image, rows in zip(feed.order(epoch).tolist(), batch.images, batch.labels, strict=True):
            grid[place].append(_boxed(image.permute(1, 2, 0).round().clamp(0, 255).byte(), rows, data.classes))
    cells = [cell for row in grid for cell in row]
    named = f"{title('augment', config['augment'])}; on the left the image as it is"
    return image_grid(cells, [""] * len(cells), named, _EPOCHS + 1)


def _boxed(pixels: Tensor, rows: Tensor, classes: tuple[str, ...]) -> Tensor:
    """An image (H, W, 3) with its objects (M, 6) drawn."""
    there = rows[rows[:, 4] >= 0]
    sure = torch.cat([there[:, :4], torch.ones(len(there), 1), there[:, 4:5]], 1)
    return torch.from_numpy(np.asarray(drawn(pixels.numpy(), sure, classes)).copy())


def _words(label: Tensor, classes: tuple[str, ...]) -> str:
    """The classes of a mixed label with their shares."""
    shares, names = label.topk(2)
    pairs = zip(shares.tolist(), names.tolist(), strict=True)
    return "\n".join(f"{share:.2f} {classes[name]}" for share, name in pairs if share > 0.005)
