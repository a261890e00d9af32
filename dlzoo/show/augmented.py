"""What an augmentation makes of the images of a data set."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from dlzoo.combinations import refuse_odd_ones
from dlzoo.data.feed import Normalise, TrainFeed
from dlzoo.data.image_set import Split
from dlzoo.data.settings import balanced_order
from dlzoo.data.splits import Splits
from dlzoo.errors import UserError
from dlzoo.registry import AUGMENTS
from dlzoo.show.curves import title
from dlzoo.streams import Streams

Config = dict[str, Any]

_IMAGES, _EPOCHS = 8, 7


def of_augment(config: Config) -> Figure:
    """A row an image: as it is, then as a training sees it in its first epochs.

    Raises:
        UserError: if the data is not there, or has no images.
    """
    data = Splits.load(config["data"])
    if data.kind != "images":
        raise UserError(f"data={config['data']['name']} is a table: show augment is for images")
    refuse_odd_ones(config, data, 1)
    settings, augment = AUGMENTS.from_section(config["augment"])
    few = balanced_order(data.train.labels, config["data"]["split_seed"])[:_IMAGES]
    originals, labels = data.train.images[few], data.train.labels[few]
    split = Split(originals, labels)
    normalise = Normalise(*data.statistics())
    mixer = settings.mixer(len(data.classes))
    feed = TrainFeed(split, normalise, augment, Streams(config["seed"]), len(split), mixer=mixer)
    figure = Figure(figsize=(1.25 * (_EPOCHS + 1), 1.45 * len(split)), layout="constrained")
    panels = figure.subplots(len(split), _EPOCHS + 1, squeeze=False)
    for row, (pixels, label) in enumerate(zip(originals, labels.tolist(), strict=True)):
        _draw(panels[row][0], pixels, data.classes[label])
    panels[0][0].set_title(f"as it is\n{panels[0][0].get_title()}", fontsize=7)
    for epoch in range(_EPOCHS):
        (batch,) = feed.batches(epoch)  # one step an epoch
        places = feed.order(epoch)
        for place, image, label in zip(places.tolist(), batch.images, batch.labels, strict=True):
            pixels = (image.permute(1, 2, 0) - normalise.shift.flatten()) / normalise.scale.flatten()
            words = _words(label, data.classes) if label.is_floating_point() else ""
            _draw(panels[place][epoch + 1], pixels.round().clamp(0, 255).byte(), words)
    figure.suptitle(title("augment", config["augment"]), fontsize=9)
    return figure


def _words(label: Tensor, classes: tuple[str, ...]) -> str:
    """The classes of a mixed label with their shares."""
    shares, names = label.topk(2)
    pairs = zip(shares.tolist(), names.tolist(), strict=True)
    return "\n".join(f"{share:.2f} {classes[name]}" for share, name in pairs if share > 0.005)


def _draw(axes: Any, pixels: Tensor, title: str) -> None:
    axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=7)
    axes.axis("off")
