"""Plot the effect of an augmentation on the images of a data set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from dlzoo.builder.compatibility import check_compatible, load_data
from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS, TASKS
from dlzoo.core.rng import Streams
from dlzoo.data.loader import TrainLoader
from dlzoo.data.settings import balanced_order
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.batch import Normalise
from dlzoo.metrics.plots import image_grid
from dlzoo.show.curves import title


class _Grid(NamedTuple):
    """Number of images, how often each is augmented, and the width of one in inches."""

    images: int
    epochs: int
    side: float


#: Images of one class, and larger ones in which boxes or masks are drawn.
_OF_CLASSES, _OF_PLACES = _Grid(8, 7, 1.7), _Grid(4, 4, 2.8)


def plot_augment(config: Config) -> Figure:
    """Plot a few images, one row each: the original, then the augmented images of the first epochs.

    Raises:
        UserError: if the data is missing, or has no images.
    """
    data = load_data(config)
    if data.is_table:
        raise UserError(f"data={config['data']['name']} is a table: show augment is for images")
    check_compatible(config, data, 1)
    task, normalise = TASKS.build(data.task), Normalise(*data.statistics())
    settings, augment = AUGMENTS.from_section(config["augment"])
    shown = _OF_CLASSES if task.target.single_class else _OF_PLACES
    split = data.train.take(_choose_images(data, shown.images, config["data"]["split_seed"]))
    transform = task.transform(settings, augment, normalise, data)
    loader = TrainLoader(split, transform, Streams(config["seed"]), len(split))
    samples = zip(*split.separate(split.images[:], split.labels), strict=True)
    grid = [[task.draw_sample(pixels, label, data.classes, mixed=False)] for pixels, label in samples]
    for epoch in range(shown.epochs):
        (batch,) = loader.batches(epoch)  # one step an epoch
        for place, image, label in zip(loader.order(epoch).tolist(), batch.images, batch.labels, strict=True):
            pixels = (image.permute(1, 2, 0) - normalise.shift.flatten()) / normalise.scale.flatten()
            pixels = pixels.round().clamp(0, 255).byte()
            grid[place].append(task.draw_sample(pixels, label, data.classes, mixed=True))
    cells = [cell for row in grid for cell in row]
    named = f"{title('augment', config['augment'])}; originals on the left"
    images, words = zip(*cells, strict=True)
    return image_grid(images, words, named, shown.epochs + 1, shown.side)


def _choose_images(data: Splits, count: int, seed: int) -> torch.Tensor:
    """Return the indices of the first images, or, if there are classes, of some images of each."""
    if TASKS.build(data.task).target.single_class:
        return balanced_order(data.train.labels, seed, by_class=True)[:count]
    return torch.arange(min(count, len(data.train)))
