"""The semantic segmentation task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dlzoo.core.entries import Metric
from dlzoo.core.errors import UserError
from dlzoo.core.registries import TASKS
from dlzoo.data.data_set import TargetKind
from dlzoo.data.mask_set import IGNORED
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.settings import AugmentSettings
from dlzoo.tasks.base import Config, Pieces, Record, TaskSpec, Tested
from dlzoo.tasks.class_weights import build_loss
from dlzoo.tasks.loss_check import check_loss
from dlzoo.tasks.segmentation.losses import MaskLoss
from dlzoo.tasks.segmentation.transforms import MaskTransform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.tasks.segmentation.inference import Inference
    from dlzoo.tasks.segmentation.module import SegmentationModule


@TASKS.register(
    "segment",
    source="arXiv:1411.4038",
    target="masks",
    targets_are="masks",
    moves=("masks",),
    example=(256, 21),
    defaults={"model": "unet_tiny", "loss": "cross_entropy", "augment": "flip"},
    settings="dlzoo.tasks.segmentation.defaults:defaults",
    metrics=(
        Metric("loss", higher_is_better=False),
        Metric("miou", label="mean IoU"),
        Metric("dice", label="Dice"),
        Metric("pixel_accuracy", unit="fraction of pixels"),
        Metric("boundary_f1", label="boundary F1"),
    ),
)
class SegmentationSpec(TaskSpec):
    """Semantic segmentation: masks (N, H, W) uint8, a class for each pixel and 255 where it is not known."""

    name = "segment"
    target = TargetKind("masks")

    def check_config(self, config: Config, data: Splits) -> None:
        augment, data_name = config["augment"], config["data"]["name"]
        mixing = [f"augment.{key}={augment[key]:g}" for key in ("mixup", "cutmix") if augment[key]]
        mixing += [f"augment.test={augment['test']}"] if augment["test"] not in ("none", "flip") else []
        if mixing:
            raise UserError(f"{mixing[0]} is for images of one class, but data={data_name} has masks; leave it out")
        for name, part in (("train", data.train), ("val", data.val), ("test", data.test)):
            if part is not None and not part.labels.sum():
                raise UserError(f"data={data_name}: no pixel of the {len(part)} masks of {name} has a class: all are"
                                f" {IGNORED} (ignored); choose other data")  # fmt: skip

    def notes(self, data: Splits) -> list[str]:
        return [*_absent("training", data.train, data.classes), *_absent("test", data.test, data.classes)]

    def loss(self, config: Config, data: Splits) -> MaskLoss:
        """Return the loss of the pixels whose class is known, after calling it on one mask with a pixel of each."""
        section = config["loss"]
        count, masks = len(data.classes), MaskLoss(build_loss(section, data.train.labels.sum(0)))
        target = torch.arange(count, dtype=torch.uint8)[None, None]
        check_loss(section, masks, torch.zeros(1, count, 1, count), target, f"{count} classes")
        return masks

    def transform(
        self, settings: AugmentSettings, augment: Augment, normalise: Normalise, data: Splits
    ) -> MaskTransform:
        return MaskTransform(augment, normalise, crop=data.source.crop, mosaic=settings.mosaic, cutout=settings.cutout,
                             multi_scale=settings.multi_scale)  # fmt: skip

    def views(self, settings: AugmentSettings, augment: Augment) -> Callable[[Tensor], list[Tensor]]:
        """Return the image alone: the logits of the mirror image must be mirrored back before they are averaged."""
        return lambda images: [images]

    def module(self, pieces: Pieces, config: Config, data: Splits) -> SegmentationModule:
        from dlzoo.tasks.segmentation.module import SegmentationModule

        inference = inference_of(config, data.source.crop)
        return SegmentationModule(**vars(pieces), num_classes=len(data.classes), inference=inference)

    def describe(self, record: Record) -> str:
        return f"{len(record['classes'])} classes of pixels"

    def plots(self, tested: Tested) -> dict[str, Figure]:
        from dlzoo.metrics import plots

        curves = plots.curves(tested.records, tested.title, tested.module.monitor, validation=tested.data.val)
        return {"curves": curves}


def inference_of(config: Config, crop: int | None) -> Inference:
    """Return how whole images are segmented: in windows of the training size where images are larger."""
    from dlzoo.tasks.segmentation.inference import Inference

    return Inference(crop, flip=config["augment"]["test"] == "flip")


def _absent(part: str, split: Any, classes: Sequence[str]) -> list[str]:
    """Return a note on classes without a pixel in a split."""
    counts = split.labels.sum(0).tolist()
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not absent:
        return []
    shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return [f"{len(absent)} of {len(classes)} classes have no pixel in the {part} masks: {shown}"]
