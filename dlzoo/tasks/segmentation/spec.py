"""The semantic segmentation task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from dlzoo.core.entries import Metric
from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, write_atomically
from dlzoo.core.registries import TASKS
from dlzoo.data.data_set import TargetKind
from dlzoo.data.mask_set import IGNORED
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.settings import AugmentSettings
from dlzoo.tasks.base import Answer, Config, Pieces, Record, TaskSpec, Tested
from dlzoo.tasks.class_weights import build_loss
from dlzoo.tasks.loss_check import check_loss
from dlzoo.tasks.prediction import FileRequest, Trained, conversion_of, refuse_options
from dlzoo.tasks.segmentation.losses import MaskLoss
from dlzoo.tasks.segmentation.models.segmenter import BackboneSegmenter
from dlzoo.tasks.segmentation.transforms import MaskTransform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.data.storage.image_source import ImageSource
    from dlzoo.tasks.segmentation.inference import Inference
    from dlzoo.tasks.segmentation.metrics import SegmentationEvaluation
    from dlzoo.tasks.segmentation.module import SegmentationModule
    from dlzoo.tasks.segmentation.prediction import ImageReader, MaskPrediction


@TASKS.register(
    "segment",
    source="arXiv:1411.4038",
    target="masks",
    targets_are="masks",
    moves=("masks",),
    example=(256, 21),
    defaults={"model": "unet_tiny", "loss": "sum", "augment": "flip"},
    settings=(
        *("data.batch_size=16", "trainer.max_epochs=30"),
        *("optimizer=adamw", "optimizer.lr=0.005", "schedule=one_cycle"),
    ),
    metrics=(
        Metric("loss", higher_is_better=False),
        Metric("miou", label="mean IoU", margin=0.01),
        Metric("dice", label="Dice", margin=0.01),
        Metric("pixel_accuracy", unit="fraction of pixels", margin=0.01),
        Metric("boundary_f1", label="boundary F1", margin=0.01),
    ),
    class_metric=Metric("iou", label="intersection over union"),
)
class SegmentationSpec(TaskSpec):
    """Semantic segmentation: masks (N, H, W) uint8, a class for each pixel and 255 where it is not known."""

    name = "segment"
    target = TargetKind("masks")

    def check_config(self, config: Config, data: Splits) -> None:
        augment, data_name = config["augment"], config["data"]["name"]
        mixing = [f"augment.{key}={augment[key]:g}" for key in ("mixup", "cutmix") if augment[key]]
        if mixing:
            raise UserError(f"{mixing[0]} is for images of one class, but data={data_name} has masks; leave it out")
        if augment["test"] not in ("none", "flip"):
            raise UserError(f"augment.test={augment['test']} is not for masks; set augment.test=flip or none")
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

        return SegmentationModule(**vars(pieces), num_classes=len(data.classes), inference=_inference(config))

    def backbone_modules(self, network: nn.Module) -> list[nn.Module]:
        if isinstance(network, BackboneSegmenter):
            return [network.backbone.network]  # the decoder was never trained
        return super().backbone_modules(network)

    def load_backbone(self, state: dict[str, Tensor], network: nn.Module, origin: str) -> bool:
        if not isinstance(network, BackboneSegmenter) or any(key.startswith("backbone.") for key in state):
            return False
        network.backbone.load_classifier(state, origin)
        return True

    def describe(self, record: Record) -> str:
        return f"{len(record['classes'])} classes of pixels"

    def plots(self, tested: Tested) -> dict[str, Figure]:
        from dlzoo.metrics import plots

        curves = plots.curves(tested.records, tested.title, tested.module.monitor, validation=tested.data.val)
        return {"curves": curves} | _plots_of_masks(tested)

    def draw_sample(self, pixels: Tensor, label: Tensor, classes: Sequence[str], *, mixed: bool) -> tuple[Tensor, str]:
        """Return the image with its mask (H, W) over it."""
        from dlzoo.tasks.segmentation.drawing import class_palette, overlay

        return torch.from_numpy(overlay(pixels.numpy(), label.numpy(), class_palette(classes))), ""

    def write_evaluation(self, tested: Tested, metrics: Mapping[str, float], folder: Path) -> None:
        """Write metrics.json and plots."""
        from dlzoo.runs.figures import write_png

        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "metrics.json", json.dumps(dict(metrics), indent=1) + "\n")
            for name, figure in _plots_of_masks(tested).items():
                write_png(figure, folder / f"{name}.png")
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({reason(error)})") from error

    def check_prediction(self, record: Record, path: str, conditions: Sequence[str], out: str | None) -> None:
        refuse_options(path, conditions, None)

    def image_reader(self, config: Config, record: Record) -> ImageReader:
        from dlzoo.tasks.segmentation.prediction import ImageReader

        return ImageReader(config["data"].get("image_size"), conversion_of(config, record), record["in_channels"])

    def predict(self, images: Sequence[ImageSource], trained: Trained, most: int) -> list[MaskPrediction]:
        from dlzoo.tasks.segmentation.prediction import predict_masks

        return predict_masks(images, trained, _inference(trained.config))

    def predict_files(self, request: FileRequest, trained: Trained) -> list[Answer]:
        from dlzoo.tasks.segmentation.prediction import draw_masks

        return draw_masks(request, trained, _inference(trained.config))

    def format_prediction(self, prediction: Answer) -> str:
        areas = ", ".join(f"{name} {area:.1%}" for name, area in prediction["areas"].items())
        return f"{areas}; mask in {prediction['mask']}, drawn in {prediction['picture']}"


def _plots_of_masks(tested: Tested) -> dict[str, Figure]:
    """Return plots of the masks of the test split: on images, and IoU by class."""
    from dlzoo.tasks.segmentation import plots
    from dlzoo.tasks.segmentation.drawing import class_palette

    data, evaluation = tested.data, cast("SegmentationEvaluation", tested.module.tested)
    shown, classes = evaluation.shown.columns(), data.classes
    assert data.test.sizes is not None
    pixels, masks = data.test.separate(data.test.images[shown["id"]], shown["id"])
    pixels = tested.module.loaders.test.apply_shift(pixels, shown["id"]).permute(0, 2, 3, 1)
    sizes = data.test.sizes[shown["id"]].tolist()
    images, true, predicted = (
        [each[:high, :wide].numpy() for each, (wide, high) in zip(stack, sizes, strict=True)]
        for stack in (pixels, masks, shown["mask"])
    )
    palette = class_palette(classes, data.source.facts()["colours"])
    fractions = (data.test.labels.sum(0) / data.test.labels.sum()).tolist()
    measured = evaluation.by_class()
    return {
        "predictions": plots.predictions(images, true, predicted, classes, palette),
        "classes": plots.class_ious(measured["iou"], fractions, classes, measured["boundary_f1"]),
    }


def _inference(config: Config) -> Inference:
    """Return how whole images are segmented: in windows of the training size where images are larger."""
    from dlzoo.tasks.segmentation.inference import Inference

    return Inference(config["data"].get("crop"), flip=config["augment"]["test"] == "flip")


def _absent(part: str, split: Any, classes: Sequence[str]) -> list[str]:
    """Return a note on classes without a pixel in a split."""
    counts = split.labels.sum(0).tolist()
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not absent:
        return []
    shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return [f"{len(absent)} of {len(classes)} classes have no pixel in the {part} masks: {shown}"]
