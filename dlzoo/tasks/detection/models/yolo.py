"""YOLOv3, YOLOv4 and a small variant: boxes, objectness and classes for a few anchors in each cell of each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dlzoo.boxes.objects import MatchedTargets, Objects, objects
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Bounds, Fraction, Positive
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.detection.models.detector import PARTS, Detector
from dlzoo.tasks.detection.models.yolo_anchors import yolo_anchors
from dlzoo.tasks.detection.yolo_assigner import Assigned, assign, overlaps
from dlzoo.tasks.detection.yolo_coder import BoxCoder, Grid, grid

Level = Annotated[int, Bounds(minimum=0, maximum=12)]

#: Anchors beside the best one are positive above this IoU of shapes (arXiv:2004.10934, section 4.3; its yolov4.cfg).
EXTRA_IOU = 0.213

#: Initial objectness (arXiv:1708.02002, section 3.3).
PRIOR = 0.01


@dataclass(frozen=True)
class Rules:
    """Rules of target assignment: the parameters of `yolo` of the same names."""

    assign: Literal["best", "all"]
    ignore: Literal["prediction", "prior", "none"]
    ignore_iou: float
    small_weight: bool


class Yolo(Detector):
    """Images (N, C, H, W) -> an output for each level, fine to coarse: (N, A * (5 + K), H / stride, W / stride).

    Each of A anchors has x, y, w, h (yolo_coder.BoxCoder), objectness and K classes, from a 3x3 and a 1x1 convolution
    of the neck's feature maps.

    Args:
        strides: side of the cells of each level, in pixels.
        anchors: (levels, A, 2) widths and heights in pixels.
        start: (levels, A, 2), the w and h that decode to the anchors themselves: the initial outputs.
        softmax_classes: whether the classes are a softmax, or a sigmoid each.
    """

    anchors: Tensor

    def __init__(
        self,
        backbone: Backbone,
        parts: Parts,
        coding: BoxCoder,
        rules: Rules,
        *,
        num_classes: int,
        strides: Sequence[int],
        anchors: Tensor,
        start: Tensor,
        softmax_classes: bool,
    ) -> None:
        super().__init__()
        self.backbone, self.coding, self.rules = backbone, coding, rules
        self.strides, self.softmax_classes = tuple(strides), softmax_classes
        self.neck = parts.neck(backbone.select(strides, parts))
        widths = self.neck.out_channels
        self.mix = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, 2 * width, 3, parts, drop=True), parts.attention(2 * width))
            for width in widths
        )
        self.head = nn.ModuleList(nn.Conv2d(2 * width, anchors.shape[1] * (5 + num_classes), 1) for width in widths)
        self.register_buffer("anchors", anchors)
        self._init_biases(start)

    def _init_biases(self, sizes: Tensor) -> None:
        """Set the biases so that the initial boxes have `sizes` at the centres of cells, and low objectness."""
        for layer, of_level in zip(self.head.children(), sizes, strict=True):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            bias = layer.bias.data.view(len(of_level), -1)
            bias[:, :2], bias[:, 2:4], bias[:, 4] = 0, of_level, math.log(PRIOR / (1 - PRIOR))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.neck(self.backbone(images))
        return tuple(head(mix(level)) for head, mix, level in zip(self.head, self.mix, features, strict=True))

    def candidates(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        outputs, slots = self._slots(raw)
        classes = outputs[..., 5:].softmax(-1) if self.softmax_classes else outputs[..., 5:].sigmoid()
        return self.coding.decode(self.coding.read(outputs), slots), outputs[..., 4:5].sigmoid() * classes

    def match_targets(self, raw: tuple[Tensor, ...], labels: Tensor) -> list[MatchedTargets]:
        outputs, slots = self._slots(raw)
        target = objects(labels)
        sides, assigned = target.boxes[..., 2:] - target.boxes[..., :2], self._assign(raw, target)
        chosen, positive = (values.flatten(1) for values in assigned)

        slots_per_row = assigned.slots.shape[-1]  # slots for each row of labels
        boxes, classes, share = (
            values.repeat_interleave(slots_per_row, dim=1).flatten(0, 1)
            for values in (target.boxes, target.classes.clamp(min=0), (sides / slots.image).prod(-1))
        )
        assigned_outputs = outputs.gather(1, chosen[..., None].expand(-1, -1, outputs.shape[-1])).flatten(0, 1)
        assigned_slots = slots.of(chosen.flatten())
        offsets, weights = self.coding.read(assigned_outputs), positive.flatten().float()

        is_object = torch.zeros_like(outputs[..., 4]).scatter_reduce(1, chosen, positive.float(), "amax")
        return [
            MatchedTargets(
                boxes=self.coding.decode(offsets, assigned_slots),
                box_targets=boxes,
                offsets=offsets,
                offset_targets=self.coding.encode(boxes, assigned_slots),
                box_weights=weights * (2 - share).clamp(1, 2) if self.rules.small_weight else weights,
                scores=assigned_outputs[:, 5:],
                classes=classes,
                class_weights=weights,
                objectness=outputs[..., 4].flatten(),
                objectness_targets=is_object.flatten(),
                objectness_weights=torch.maximum(is_object, self._no_object_mask(outputs, slots, target)).flatten(),
                matched=positive.sum(),
            )
        ]

    def count_matches(self, raw: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return self._assign(raw, objects(labels)).positive.sum()[None].float()

    def _assign(self, raw: tuple[Tensor, ...], target: Objects) -> Assigned:
        """Assign slots to objects, in outputs of the shapes of `raw`."""
        extra_iou = EXTRA_IOU if self.rules.assign == "all" else None
        return assign(target, [level.shape[2:] for level in raw], self.strides, self.anchors, extra_iou=extra_iou)

    def _slots(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, Grid]:
        """Return the outputs of all slots (N, S, 5 + K), float32, and their grid."""
        anchors = self.anchors.shape[1]
        outputs = [level.float().permute(0, 2, 3, 1).unflatten(-1, (anchors, -1)).flatten(1, 3) for level in raw]
        return torch.cat(outputs, dim=1), grid([level.shape[2:] for level in raw], self.strides, self.anchors)

    @torch.no_grad()
    def _no_object_mask(self, outputs: Tensor, slots: Grid, target: Objects) -> Tensor:
        """Return 1 where a slot without an object is a negative, 0 where it is ignored: (N, S).

        Slots that overlap difficult objects are ignored as well.
        """
        if self.rules.ignore == "prior":
            boxes = slots.anchors().expand(len(outputs), -1, -1)
        else:
            boxes = self.coding.decode(self.coding.read(outputs), slots)
        near = target.there & target.difficult if self.rules.ignore == "none" else target.there
        return (overlaps(boxes, target.boxes, near) <= self.rules.ignore_iou).float()


def yolo(
    *,
    num_classes: int,
    image_size: int,
    parts: Parts,
    backbone: Backbone,
    softmax_classes: bool,
    sizes: Tensor | None,
    levels: tuple[Level, ...] = (3, 4, 5),
    anchors: Literal["paper", "kmeans"] | tuple[Positive, ...] = "paper",
    assign: Literal["best", "all"] = "best",
    ignore: Literal["prediction", "prior", "none"] = "prediction",
    ignore_iou: Fraction = 0.5,
    small_weight: bool = True,
    offsets: Literal["log", "ratio", "direct"] = "log",
    grid_scale: Annotated[float, Bounds(minimum=1)] = 1.0,
) -> Yolo:
    """YOLO: boxes at cell + sigmoid(x, y) of size anchor * e^(w, h), with objectness and classes

    `levels` are feature maps of stride 2^level. `anchors` are YOLOv3's nine, scaled to the images (paper), learnt from
    the data (kmeans, three for each level), or a list of widths and heights in pixels; the finest level has the
    smallest. An object is assigned to the anchor whose shape fits best, or also to all that fit well (assign=all).
    Other slots are negatives, except those whose predicted box, or whose anchor, overlaps an object by more than
    `ignore_iou`. `small_weight`: a box has weight 2 - w h, w and h relative to the image. `offsets`: width and height
    are the anchor's times e^t (log) or times t (ratio), or the image's times t (direct, without anchors). `grid_scale`
    lets centres reach the borders of cells, equally on all levels (yolov4.cfg has 1.2, 1.1 and 1.05).

    Raises:
        UserError: for levels that are not consecutive or are coarser than the image, and for anchors that cannot be
            divided among the levels.
    """
    strides = _strides(levels, image_size)
    pixels = yolo_anchors(anchors, len(levels), sizes, image_size)
    start = {"log": torch.zeros_like(pixels), "ratio": torch.ones_like(pixels), "direct": pixels / image_size}
    return Yolo(
        backbone,
        parts,
        BoxCoder(offsets, grid_scale),
        Rules(assign, ignore, ignore_iou, small_weight),
        num_classes=num_classes,
        strides=strides,
        anchors=pixels,
        start=start[offsets],
        softmax_classes=softmax_classes,
    )


def _strides(levels: Sequence[int], image_size: int) -> list[int]:
    """Return the strides of levels.

    Raises:
        UserError: for levels that are not consecutive, or are coarser than the image.
    """
    if not levels or any(coarse != fine + 1 for fine, coarse in pairwise(levels)):
        raise UserError(f"model.levels={list(levels)} must count up from fine to coarse, such as [3, 4, 5]")
    if 2 ** levels[-1] > image_size:
        raise UserError(
            f"model.levels: a cell of level {levels[-1]} is {2 ** levels[-1]} px wide, but the image {image_size} px;"
            " choose finer levels, or a larger data.image_size"
        )
    return [2**level for level in levels]


def _register() -> None:
    """Register yolov3, yolov4 and yolo_tiny, which share `yolo`."""
    parts = PARTS | {"loss": "bce", "objectness": True}
    fpn = {"name": "fpn", "merge": "concat", "width": None, "depth": 5}
    leaky = {"name": "leaky_relu", "negative_slope": 0.1}
    version = {"backbone": "darknet53", "neck": fpn, "act": leaky, "box_loss": "mse", "nms": "nms"}
    MODELS.register("yolov3", source="arXiv:1804.02767", **parts | version)(yolo)
    version = {"backbone": "cspdarknet53", "neck": fpn | {"name": "pan", "spp": True}, "act": leaky, "norm": "cmbn"}
    version |= {"drop": "dropblock", "box_loss": "ciou", "nms": "diou_nms", "shared_parts": ("norm", "drop")}
    MODELS.register("yolov4", source="arXiv:2004.10934", **parts | version)(
        partial(yolo, assign="all", ignore_iou=0.7, small_weight=False, grid_scale=1.1)
    )
    # A ResNet's stem would reduce figures of 15 px to 4.
    version = {"backbone": {"name": "vgg11", "width": 12}, "neck": fpn | {"merge": "add", "width": 32, "depth": 1}}
    version |= {"act": "relu", "box_loss": "ciou", "nms": "nms", "shared_parts": ("norm",)}
    MODELS.register("yolo_tiny", source="arXiv:1804.02767, made small", **parts | version)(
        partial(yolo, levels=(3, 4), anchors="kmeans", assign="all")
    )


_register()
