"""Metadata of a registration: one frozen dataclass for each kind of registry.

An unknown field in a registration raises TypeError when its module is imported. This module does not import torch,
because the command line reads the metadata from the index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

#: An entry of another registry: its name, or a mapping with its name and the settings that differ from its defaults.
Choice = str | Mapping[str, Any]


@dataclass(frozen=True)
class Marks:
    """Metadata of every registration: for registries without a class of their own, such as heads, there is no other.

    `hidden`: whether the entry is left out of lists: it stands for an object that a Python program has (core/given.py).
    """

    hidden: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        defaults = type(self)()
        return {name: _as_json(value) for name, value in values.items() if value != getattr(defaults, name)}


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return asdict(value) if isinstance(value, Metric) else value


@dataclass(frozen=True)
class PartMarks(Marks):
    """A part of a network.

    `needs`: what the part requires of its place in the network: "size" (of the feature maps, in pixels), "maps"
    (feature maps, not vectors) or "branch" (a whole residual branch); "" fits anywhere.
    """

    needs: str = ""


@dataclass(frozen=True)
class ModelMarks(Marks):
    """A model: its tasks, and the default of each kind of part; None means that the model does not use that kind.

    `tasks`: names of the tasks whose targets its outputs fit.
    `tables`: whether it takes the rows of a table as well as images.
    `linear`: whether it is linear in its parameters.
    `torchvision`: norm -> the model of torchvision that computes the same.
    `backbone`, `loss`, `box_loss`, `nms`: defaults of choices that belong to detectors and the like; backbone="default"
    is an encoder of its own, in the place of which it takes a backbone.
    `shared_parts`: kinds of parts that backbone, neck and head share by default.
    `objectness`: whether it scores objects separately from their classes, and so has no background class.
    """

    tasks: tuple[str, ...] = ("classify", "regress")
    tables: bool = False
    linear: bool = False
    torchvision: Mapping[str, str] = field(default_factory=dict)
    norm: Choice | None = None
    act: Choice | None = None
    conv: Choice | None = None
    attention: Choice | None = None
    pool: Choice | None = None
    drop: Choice | None = None
    head: Choice | None = None
    upsample: Choice | None = None
    neck: Choice | None = None
    init: Choice | None = None
    backbone: Choice | None = None
    loss: Choice | None = None
    box_loss: Choice | None = None
    nms: Choice | None = None
    shared_parts: tuple[str, ...] = ()
    objectness: bool = False


@dataclass(frozen=True)
class LossMarks(Marks):
    """A loss.

    `targets`: kinds of targets that it takes: "classification" (one class per sample), "regression" (numbers),
    "objects" (classes of boxes), "boxes" or "offsets" (of a detector's boxes), or a kind that a task defines.
    `soft`: whether targets may be probabilities.
    `learns`: whether its gradient is not zero everywhere.
    """

    targets: tuple[str, ...] = ("classification",)
    soft: bool = False
    learns: bool = True


@dataclass(frozen=True)
class AugmentMarks(Marks):
    """An augmentation. `moves`: targets that it transforms with the image: "boxes", "masks"; () for the image only."""

    moves: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetMarks(Marks):
    """A data set.

    `tasks`: names of the tasks that it can be used for, the default first. With several it has a
    setting `task`, null by default, which chooses one where the model does not.
    `table`: whether its samples are rows of a table.
    `targets`: what a loss may take them for (LossMarks.targets), where that is more than its task says.
    `finds_task`: "module:function" of a function that imports no torch: the settings of the data set -> the task that
    its files show, or None. "" if the registration is enough.
    `model`, `augment`, `loss`: defaults of these choices.
    `counts`: "module:function" of a function: the settings of the data set -> split -> the number of its images, for
    defaults that depend on it (data/few_images.py); "" for none.
    `defaults`: "module:function" of a function (config, keys that were chosen) -> settings (key=value) that are the
    defaults for the data that the config names, such as those for few images; "" for none.
    """

    tasks: tuple[str, ...] = ("classify",)
    finds_task: str = ""
    table: bool = False
    targets: tuple[str, ...] = ()
    model: Choice | None = None
    augment: Choice | None = None
    loss: Choice | None = None
    counts: str = ""
    defaults: str = ""


@dataclass(frozen=True)
class OptimizerMarks(Marks):
    """An optimizer.

    `decoupled`: whether its own weight decay is decoupled from the gradient.
    `uses_closure`: whether its step takes a closure that evaluates the loss.
    `clips`: whether gradients may be clipped before its step.
    `full_batch`: whether it needs a deterministic loss: the whole data set each step, one process, full precision.
    `linear`: whether it is for linear models only.
    `groups`: whether it supports parameter groups with different learning rates.
    """

    decoupled: bool = False
    uses_closure: bool = False
    clips: bool = True
    full_batch: bool = False
    linear: bool = False
    groups: bool = True


@dataclass(frozen=True)
class ScheduleMarks(Marks):
    """A schedule. `validation`: whether it depends on the score of the validation split."""

    validation: bool = False


@dataclass(frozen=True)
class HookMarks(Marks):
    """A hook. `package`: the package that it needs, which is also the name of dlzoo's extra that installs it."""

    package: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric of a task: its name, its direction, its unit ("" for none), its plain name, and its margin.

    `label`: the plain name; "" for the name with spaces.
    `margin`: the largest difference that a report takes as none, unless a comparison sets its own; None for no margin.
    """

    name: str
    higher_is_better: bool = True
    unit: str = ""
    label: str = ""
    margin: float | None = None

    @property
    def plain_name(self) -> str:
        """The name in sentences: "mean absolute error"."""
        return self.label or self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """The name for titles of plots, with the unit: "mean absolute error (unit of the target)"."""
        return self.plain_name + (f" ({self.unit})" if self.unit else "")


@dataclass(frozen=True)
class TaskMarks(Marks):
    """A task.

    `metrics`: the metrics of a split.
    `target`: the kind of target that its losses must take (LossMarks.targets).
    `moves`: targets that augmentations must transform with the image (AugmentMarks.moves).
    `targets_are`: a noun for the targets in messages, used after "has": "objects".
    `defaults`: choice -> entry, used if neither the model nor the data set names one.
    `adapts`: names of data sets of other tasks that this task can convert and use.
    `settings`: settings (key=value) that are defaults for runs of this task, where nothing else was chosen.
    `class_metric`: the metric of each class that a report shows, whose name is a key of by_class in run.json.
    `example`: default image size and number of classes with which `dlzoo show model` builds a model.
    """

    metrics: tuple[Metric, ...] = ()
    class_metric: Metric | None = None
    target: str = ""
    moves: tuple[str, ...] = ()
    targets_are: str = ""
    defaults: Mapping[str, Choice] = field(default_factory=dict)
    adapts: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    example: tuple[int, int] | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the marks that `as_json` described."""
        by_class = values.get("class_metric")
        metrics = tuple(Metric(**each) for each in values.get("metrics", ()))
        return cls(**{**values, "metrics": metrics, "class_metric": Metric(**by_class) if by_class else None})
