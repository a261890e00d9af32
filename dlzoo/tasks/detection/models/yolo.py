"""YOLOv3, YOLOv4 and a small one: in each cell of each map a few anchors say box, objectness and classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dlzoo.boxes.anchors import kmeans_anchors
from dlzoo.boxes.objects import MatchedTargets, Objects, objects
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Bounds, Fraction, Positive
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.detection.models.detector import PARTS, Detector
from dlzoo.tasks.detection.yolo_assigner import assign, overlaps
from dlzoo.tasks.detection.yolo_coder import BoxCoder, Grid, grid

Level = Annotated[int, Bounds(minimum=0, maximum=12)]

#: Widths and heights for images of 416 px (arXiv:1804.02767, section 2.3), from the smallest. Those of the authors'
#: yolov4.cfg are the same for 512 px.
PAPER = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
PAPER_SIZE = 416

#: Anchors of a cell where they are learnt from the data.
ANCHORS_PER_LEVEL = 3

#: Shapes that overlap by more take an object beside the best one (arXiv:2004.10934, section 4.3; its yolov4.cfg).
EXTRA_IOU = 0.213

#: A fresh network believes in an object in one of a hundred slots (arXiv:1708.02002, section 3.3).
PRIOR = 0.01


@dataclass(frozen=True)
class Rules:
    """What is taught to which predictions: the knobs of `yolo` of the same names."""

    assign: Literal["best", "all"]
    ignore: Literal["prediction", "prior", "none"]
    ignore_iou: float
    small_weight: bool


class Yolo(Detector):
    """(N, C, H, W) -> a map a level, fine to coarse: (N, A * (5 + K), H / stride, W / stride).

    Of each of A anchors a map says x, y, w, h (models.yolo_boxes.BoxCoder), objectness and K classes; a 3x3 convolution
    and a 1x1 one make it of what the neck gives.

    Args:
        strides: pixels a side of the cells of each map.
        anchors: (maps, A, 2) widths and heights in pixels.
        start: (maps, A, 2), the w and h that are the anchors themselves: a fresh network says them.
        softmax_classes: an object has one class (softmax), or each class is told from the rest.
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
        """Set the biases so that a fresh network says boxes of `sizes` in the middle of cells, and few objects."""
        for layer, of_level in zip(self.head.children(), sizes, strict=True):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            said = layer.bias.data.view(len(of_level), -1)
            said[:, :2], said[:, 2:4], said[:, 4] = 0, of_level, math.log(PRIOR / (1 - PRIOR))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.neck(self.backbone(images))
        return tuple(head(mix(level)) for head, mix, level in zip(self.head, self.mix, maps, strict=True))

    def candidates(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        said, slots = self._slots(raw)
        classes = said[..., 5:].softmax(-1) if self.softmax_classes else said[..., 5:].sigmoid()
        return self.coding.decode(self.coding.read(said), slots), said[..., 4:5].sigmoid() * classes

    def matches(self, raw: tuple[Tensor, ...], labels: Tensor) -> list[MatchedTargets]:
        said, slots = self._slots(raw)
        found = objects(labels)
        sides = found.boxes[..., 2:] - found.boxes[..., :2]
        found = found._replace(there=found.there & (sides > 0).all(-1))  # nobody can say a box without area
        extra_iou = EXTRA_IOU if self.rules.assign == "all" else None
        assigned = assign(found, [level.shape[2:] for level in raw], self.strides, self.anchors, extra_iou=extra_iou)
        chosen, positive = (values.flatten(1) for values in assigned)

        each = assigned.slots.shape[-1]  # slots a row of labels
        boxes, classes, share = (
            values.repeat_interleave(each, dim=1).flatten(0, 1)
            for values in (found.boxes, found.classes.clamp(min=0), (sides / slots.picture).prod(-1))
        )
        own = said.gather(1, chosen[..., None].expand(-1, -1, said.shape[-1])).flatten(0, 1)
        own_slots = slots.of(chosen.flatten())
        offsets, weights = self.coding.read(own), positive.flatten().float()

        is_object = torch.zeros_like(said[..., 4]).scatter_reduce(1, chosen, positive.float(), "amax")
        return [
            MatchedTargets(
                boxes=self.coding.decode(offsets, own_slots),
                box_targets=boxes,
                offsets=offsets,
                offset_targets=self.coding.encode(boxes, own_slots),
                box_weights=weights * (2 - share).clamp(1, 2) if self.rules.small_weight else weights,
                scores=own[:, 5:],
                classes=classes,
                class_weights=weights,
                objectness=said[..., 4].flatten(),
                objectness_targets=is_object.flatten(),
                objectness_weights=torch.maximum(is_object, self._no_object_mask(said, slots, found)).flatten(),
                matched=positive.sum().clamp(min=1),
            )
        ]

    def _slots(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, Grid]:
        """What each slot says, (N, S, 5 + K), in float32, and where it is."""
        anchors = self.anchors.shape[1]
        said = [level.float().permute(0, 2, 3, 1).unflatten(-1, (anchors, -1)).flatten(1, 3) for level in raw]
        return torch.cat(said, dim=1), grid([level.shape[2:] for level in raw], self.strides, self.anchors)

    @torch.no_grad()
    def _no_object_mask(self, said: Tensor, slots: Grid, found: Objects) -> Tensor:
        """1 where a slot that has no object is taught so, 0 where it is ignored: (N, S).

        Whoever finds a difficult object is right, and so not taught either.
        """
        if self.rules.ignore == "prior":
            boxes = slots.anchors().expand(len(said), -1, -1)
        else:
            boxes = self.coding.decode(self.coding.read(said), slots)
        near = found.there & found.difficult if self.rules.ignore == "none" else found.there
        return (overlaps(boxes, found.boxes, near) <= self.rules.ignore_iou).float()


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
    """A box is its cell's place + sigmoid(x, y) and its anchor's size * e^(w, h); objectness and classes beside it

    `levels` are maps of stride 2^level. `anchors` are YOLOv3's nine, scaled to the images (paper), learnt from the
    data (kmeans, three a level), or a list of widths and heights in pixels; the finest level has the smallest. An
    object is taught to the one anchor whose shape fits best, or also to all that fit well (assign=all). Other slots are
    taught that they have none, but for those whose predicted box, or whose anchor, overlaps an object by more than
    `ignore_iou`. `small_weight`: a box counts 2 - w h, w and h as parts of the picture. `offsets`: width and height are
    the anchor's times e^t (log) or times t (ratio), or t pictures wide (direct, without anchors). `grid_scale` lets
    centres reach the borders of cells, on every level alike (yolov4.cfg has 1.2, 1.1 and 1.05).

    Raises:
        UserError: for levels that do not follow each other or are coarser than the image, and for anchors that cannot
            be shared out.
    """
    if not levels or any(coarse != fine + 1 for fine, coarse in pairwise(levels)):
        raise UserError(f"model.levels={list(levels)} must count up from fine to coarse, such as [3, 4, 5]")
    if 2 ** levels[-1] > image_size:
        raise UserError(
            f"model.levels: a cell of level {levels[-1]} is {2 ** levels[-1]} px wide, the image {image_size}"
        )
    pixels = _anchors(anchors, len(levels), sizes, image_size)
    start = {"log": torch.zeros_like(pixels), "ratio": torch.ones_like(pixels), "direct": pixels / image_size}
    return Yolo(
        backbone,
        parts,
        BoxCoder(offsets, grid_scale),
        Rules(assign, ignore, ignore_iou, small_weight),
        num_classes=num_classes,
        strides=[2**level for level in levels],
        anchors=pixels,
        start=start[offsets],
        softmax_classes=softmax_classes,
    )


def _anchors(choice: str | tuple[float, ...], levels: int, sizes: Tensor | None, image_size: int) -> Tensor:
    """(levels, A, 2), sorted by area."""
    if choice == "kmeans":
        # Without data a checkpoint brings them: until then squares will do.
        sides = torch.logspace(-4, 0, ANCHORS_PER_LEVEL * levels, base=2)[:, None].expand(-1, 2) * image_size
        flat = sides if sizes is None else kmeans_anchors(sizes, ANCHORS_PER_LEVEL * levels)
    else:
        numbers = torch.tensor(PAPER if choice == "paper" else choice, dtype=torch.float32)
        if not len(numbers) or len(numbers) % (2 * levels):
            raise UserError(
                f"model.anchors={choice if choice == 'paper' else list(choice)} has {len(numbers)} numbers"
                f" (w,h,w,h,...), which {levels} level(s) cannot share evenly; choose kmeans, or list pairs in pixels"
            )
        flat = numbers.view(-1, 2) * (image_size / PAPER_SIZE if choice == "paper" else 1)
    flat = flat[flat.prod(-1).argsort(stable=True)]
    return flat.view(levels, -1, 2).contiguous()


def _register() -> None:
    """A line an entry, but for what they have in common."""
    parts = PARTS | {"loss": "bce", "objectness": True}
    fpn = {"name": "fpn", "merge": "concat", "width": None, "depth": 5}
    leaky = {"name": "leaky_relu", "negative_slope": 0.1}
    own = {"backbone": "darknet53", "neck": fpn, "act": leaky, "box_loss": "mse", "nms": "nms"}
    MODELS.register("yolov3", source="arXiv:1804.02767", **parts | own)(yolo)
    own = {"backbone": "cspdarknet53", "neck": fpn | {"name": "pan", "spp": True}, "act": leaky, "norm": "cmbn"}
    own |= {"drop": "dropblock", "box_loss": "ciou", "nms": "diou_nms", "shared_parts": ("norm", "drop")}
    MODELS.register("yolov4", source="arXiv:2004.10934", **parts | own)(
        partial(yolo, assign="all", ignore_iou=0.7, small_weight=False, grid_scale=1.1)
    )
    # The stem of a ResNet would leave figures of 15 px with 4.
    own = {"backbone": {"name": "vgg11", "width": 12}, "neck": fpn | {"merge": "add", "width": 32, "depth": 1}}
    own |= {"act": "relu", "box_loss": "ciou", "nms": "nms", "shared_parts": ("norm",)}
    MODELS.register("yolo_tiny", source="arXiv:1804.02767, made small", **parts | own)(
        partial(yolo, levels=(3, 4), anchors="kmeans", assign="all")
    )


_register()
