"""The registries. Every technique is an entry of one of them."""

from __future__ import annotations

from dlzoo.core.entries import (
    AugmentMarks,
    DatasetMarks,
    HookMarks,
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
    " or, if its registration names a backbone, a tasks.detection.models.detector.Detector",
    common="dlzoo.models.settings:ModelSettings",
    fallback="resnet20",
    marks=ModelMarks,
)
NORMS = Registry(
    "norm",
    "dlzoo.layers",
    "a function of channels that returns an nn.Module: (N, C, H, W) -> the same shape",
    marks=PartMarks,
)
ACTS = Registry("act", "dlzoo.layers", "an nn.Module: any shape -> the same shape", marks=PartMarks)
CONVS = Registry(
    "conv",
    "dlzoo.layers",
    "a function of in_channels, out_channels, kernel_size, stride, bias and valid that returns an nn.Module:"
    " (N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))",
    common="dlzoo.layers.convs:ConvSettings",
    neutral="standard",
    marks=PartMarks,
)
ATTENTIONS = Registry(
    "attention",
    "dlzoo.layers",
    "a function of channels that returns an nn.Module: (N, C, H, W) -> the same shape",
    neutral="none",
    marks=PartMarks,
)
POOLS = Registry(
    "pool",
    "dlzoo.layers",
    "a function of channels, window and parts that returns an nn.Module that downsamples feature maps",
    neutral="max",
    marks=PartMarks,
)
DROPS = Registry(
    "drop",
    "dlzoo.layers",
    "an nn.Module: any shape -> the same shape; the identity in evaluation",
    common="dlzoo.layers.drop:DropSettings",
    neutral="none",
    marks=PartMarks,
)
HEADS = Registry(
    "head",
    "dlzoo.layers",
    "a function of channels, size and parts that returns an nn.Module: (N, C, H, W) -> (N, out_features)",
    neutral="gap",
    marks=PartMarks,
)
UPSAMPLES = Registry(
    "upsample",
    "dlzoo.layers",
    "a function of channels and factor that returns an nn.Module: (N, C, H, W) -> (N, C, factor * H, factor * W)",
    neutral="nearest",
    marks=PartMarks,
)
NECKS = Registry(
    "neck",
    "dlzoo.layers",
    "a function of channels, parts and settings that returns an nn.Module with `out_channels`: feature maps, fine to"
    " coarse, each half as large as the one before -> as many feature maps of the same sizes",
    common="dlzoo.layers.neck:NeckSettings",
    neutral="none",
    marks=PartMarks,
)
INITS = Registry(
    "init",
    "dlzoo.layers",
    "a function that fills a weight tensor in place",
    common="dlzoo.layers.init:InitSettings",
    fallback="torch",
)
LOSSES = Registry(
    "loss",
    "dlzoo.losses",
    "an nn.Module: (input, target) -> a scalar, the mean over the batch; its registration lists the `targets` it takes",
    fallback="cross_entropy",
    marks=LossMarks,
)
BOX_LOSSES = Selection(
    "box_loss",
    LOSSES,
    "a loss with `each`: (boxes (R, 4), targets (R, 4)) -> (R,), for boxes in pixels or for offsets",
    admits=lambda marks: bool({"boxes", "offsets"} & set(marks.targets)),
    common="dlzoo.losses.boxes:BoxLossSettings",
)
BACKBONES = Selection(
    "backbone",
    MODELS,
    "a classifier whose feature maps another model uses: a models.feature_maps.FeatureNetwork, or any nn.Module whose"
    " feature maps are the outputs of its blocks",
    # Convolutional: it has a head, or what it has is its own (timm, torchvision).
    admits=lambda marks: marks.backbone is None and (marks.head is not None or marks.norm == "default"),
    common="dlzoo.models.settings:ModelSettings",
)
NMS = Registry(
    "nms",
    "dlzoo.boxes",
    "a function: boxes (N, A, 4), scores (N, A), classes (N, A) -> scores (N, A), 0 for suppressed boxes",
    common="dlzoo.boxes.nms:NmsSettings",
    after_training=True,
)
OPTIMIZERS = Registry(
    "optimizer",
    "dlzoo.optim",
    "a function of params that returns a torch Optimizer",
    common="dlzoo.optim.settings:OptimizerSettings",
    marks=OptimizerMarks,
)
SCHEDULES = Registry(
    "schedule",
    "dlzoo.optim",
    "a function of the run's span that returns step -> factor of the rate, or an optim.Observer to follow validation",
    common="dlzoo.optim.settings:Warmup",
    marks=ScheduleMarks,
)
DATASETS = Registry(
    "data",
    "dlzoo.data.datasets",
    "an ImageSet, a TableSet, a BoxSet or a MaskSet: samples with classes, numbers to predict, objects or masks",
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

HOOKS = Registry(
    "hook",
    "dlzoo.engine.hooks",
    "an engine.hooks.hook.Hook, or a Lightning callback; it is built before each training and does nothing until then",
    marks=HookMarks,
)

REGISTRIES = {
    registry.choice: registry
    for registry in (
        *(MODELS, BACKBONES, NORMS, ACTS, CONVS, ATTENTIONS, POOLS, DROPS, HEADS, UPSAMPLES, NECKS, INITS),
        *(LOSSES, BOX_LOSSES, NMS, OPTIMIZERS, SCHEDULES, DATASETS, AUGMENTS),
    )
}

#: All registries whose entries are listed and shown: hooks are no choice of one name, but a list of names.
LISTED = REGISTRIES | {HOOKS.choice: HOOKS}

#: The choices that affect only the post-processing of outputs, so that a trained run can be tested with others.
AFTER_TRAINING = tuple(choice for choice, registry in REGISTRIES.items() if registry.after_training)

#: The parts of models: each kind is a method of layers.parts.Parts, and a choice that a model may support.
PARTS = {
    registry.choice: registry for registry in (NORMS, ACTS, CONVS, ATTENTIONS, POOLS, DROPS, HEADS, UPSAMPLES, NECKS)
}
