"""The registries: every technique is an entry of one of them."""

from __future__ import annotations

from dlzoo.core.entries import (
    AugmentMarks,
    DatasetMarks,
    LossMarks,
    ModelMarks,
    OptimizerMarks,
    PartMarks,
    ScheduleMarks,
    TaskMarks,
)
from dlzoo.core.registry import Registry, Selection

MODELS = Registry(
    "model",
    "dlzoo.models",
    "an nn.Module: images (N, C, H, W) -> logits (N, num_classes), in training also a layers.head.WithAuxiliary;"
    " or, where its registration names a backbone, a models.detector.Detector",
    common="dlzoo.models.settings:ModelSettings",
    fallback="resnet20",
    marks=ModelMarks,
)
NORMS = Registry(
    "norm", "dlzoo.layers", "waits for channels, then an nn.Module: (N, C, H, W) -> the same shape", marks=PartMarks
)
ACTS = Registry("act", "dlzoo.layers", "an nn.Module: any shape -> the same shape", marks=PartMarks)
CONVS = Registry(
    "conv",
    "dlzoo.layers",
    "waits for in_channels, out_channels, kernel_size, stride, bias and valid, then an nn.Module:"
    " (N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))",
    common="dlzoo.layers.convs:ConvSettings",
    neutral="standard",
    marks=PartMarks,
)
ATTENTIONS = Registry(
    "attention",
    "dlzoo.layers",
    "waits for channels, then an nn.Module: (N, C, H, W) -> the same shape",
    neutral="none",
    marks=PartMarks,
)
POOLS = Registry(
    "pool",
    "dlzoo.layers",
    "waits for channels, window and parts, then an nn.Module that makes maps smaller",
    neutral="max",
    marks=PartMarks,
)
DROPS = Registry(
    "drop",
    "dlzoo.layers",
    "an nn.Module: any shape -> the same shape, in evaluation the same values",
    common="dlzoo.layers.drop:DropSettings",
    neutral="none",
    marks=PartMarks,
)
HEADS = Registry(
    "head",
    "dlzoo.layers",
    "waits for channels, size and parts, then an nn.Module: (N, C, H, W) -> (N, out_features)",
    neutral="gap",
    marks=PartMarks,
)
UPSAMPLES = Registry(
    "upsample",
    "dlzoo.layers",
    "waits for channels and factor, then an nn.Module: (N, C, H, W) -> (N, C, factor * H, factor * W)",
    neutral="nearest",
    marks=PartMarks,
)
NECKS = Registry(
    "neck",
    "dlzoo.layers",
    "waits for channels, parts and settings, then an nn.Module with `out_channels`: maps, fine to coarse, each half as"
    " large as the one before -> as many maps of the same sizes",
    common="dlzoo.layers.neck:NeckSettings",
    neutral="none",
    marks=PartMarks,
)
INITS = Registry(
    "init",
    "dlzoo.layers",
    "waits for a weight tensor and fills it in place",
    common="dlzoo.layers.init:InitSettings",
    fallback="torch",
)
LOSSES = Registry(
    "loss",
    "dlzoo.losses",
    "an nn.Module: (input, target) -> a scalar, the batch's mean; its registration says for what `kinds` of targets",
    fallback="cross_entropy",
    marks=LossMarks,
)
BOX_LOSSES = Selection(
    "box_loss",
    LOSSES,
    "a loss with `each`: (boxes (R, 4), targets (R, 4)) -> (R,), of boxes in pixels or, as a distance, of offsets",
    admits=lambda marks: bool({"boxes", "offsets"} & set(marks.targets)),
    common="dlzoo.losses.boxes:BoxLossSettings",
)
BACKBONES = Selection(
    "backbone",
    MODELS,
    "a classifier whose maps a detector looks at",
    admits=lambda marks: marks.head is not None,
    common="dlzoo.models.settings:ModelSettings",
)
NMS = Registry(
    "nms",
    "dlzoo.boxes",
    "a function: boxes (N, A, 4), scores (N, A), classes (N, A) -> scores (N, A), those of suppressed boxes 0",
    common="dlzoo.boxes.nms:NmsSettings",
    after_training=True,
)
OPTIMIZERS = Registry(
    "optimizer",
    "dlzoo.optim",
    "waits for params, then a torch Optimizer",
    common="dlzoo.optim.settings:OptimizerSettings",
    marks=OptimizerMarks,
)
SCHEDULES = Registry(
    "schedule",
    "dlzoo.optim",
    "waits for the run's span, then step -> factor of the rate; one that follows validation is an optim.Observer",
    common="dlzoo.optim.settings:Warmup",
    marks=ScheduleMarks,
)
DATASETS = Registry(
    "data",
    "dlzoo.data.datasets",
    "an ImageSet, a TableSet or a BoxSet: samples with classes, with numbers to predict, or with objects in them",
    common="dlzoo.data.settings:DataSettings",
    marks=DatasetMarks,
)
AUGMENTS = Registry(
    "augment",
    "dlzoo.data.transforms",
    "(uint8 images (N, C, H, W), draw) -> uint8 images; one for images with boxes says so, and where it moves pixels"
    " has `augment_boxes`",
    common="dlzoo.data.transforms.settings:AugmentSettings",
    fallback="none",
    marks=AugmentMarks,
)

TASKS = Registry("task", "dlzoo.tasks", "a tasks.base.TaskSpec", marks=TaskMarks)

REGISTRIES = {
    registry.choice: registry
    for registry in (
        *(MODELS, BACKBONES, NORMS, ACTS, CONVS, ATTENTIONS, POOLS, DROPS, HEADS, UPSAMPLES, NECKS, INITS),
        *(LOSSES, BOX_LOSSES, NMS, OPTIMIZERS, SCHEDULES, DATASETS, AUGMENTS),
    )
}

#: What models are made of: each kind is a method of layers.parts.Parts, and a choice that a model may offer.
PARTS = {
    registry.choice: registry for registry in (NORMS, ACTS, CONVS, ATTENTIONS, POOLS, DROPS, HEADS, UPSAMPLES, NECKS)
}
