"""What a registration may say of an entry: one frozen dataclass for each kind of registry.

A registration that says something else is a TypeError when its module is imported. The classes import no torch: the
index holds them for the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

#: An entry of another registry: its name, or its name and what is changed of its settings.
Choice = str | Mapping[str, Any]


@dataclass(frozen=True)
class Marks:
    """Nothing beside the source: acts, norms, heads and the other registries without a class of their own."""

    def said(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = type(self)()
        return {name: value for name, value in given.items() if value != getattr(usual, name)}


@dataclass(frozen=True)
class PartMarks(Marks):
    """A part of a network.

    `needs`: what not every place offers: "size" (of the feature maps, in pixels), "maps" (feature maps, not vectors) or
    "branch" (a whole residual branch); "" goes anywhere.
    """

    needs: str = ""


@dataclass(frozen=True)
class ModelMarks(Marks):
    """A model: what it is for, and the default of each kind of part; a kind that is None has no place in it.

    `tasks`: names of the tasks whose targets its outputs fit.
    `tables`: whether it takes the rows of a table as well as images.
    `linear`: whether it is linear in its parameters.
    `torchvision`: norm -> the model of torchvision that computes the same.
    `backbone`, `loss`, `box_loss`, `nms`: defaults of choices that belong to detectors and the like.
    `shared_parts`: kinds of parts that backbone, neck and head share by default.
    `objectness`: whether it scores objects apart from their classes, and so has no background class.
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

    `targets`: what it compares with: "classification" (one class a sample), "regression" (numbers), "objects" (classes
    of boxes), "boxes" or "offsets" (of a detector's boxes), or a kind that a task brings along.
    `soft`: whether a target may be probabilities.
    `learns`: whether it has a gradient.
    """

    targets: tuple[str, ...] = ("classification",)
    soft: bool = False
    learns: bool = True


@dataclass(frozen=True)
class AugmentMarks(Marks):
    """An augmentation. `moves`: what follows the pixels where they go: "boxes", "mask"; () for images alone."""

    moves: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetMarks(Marks):
    """A data set.

    `tasks`: names of the tasks that it serves, the default first.
    `table`: whether its samples are rows of a table.
    `targets`: what a loss may take them for (LossMarks.targets), where that is more than its task says.
    `model`, `augment`, `loss`: defaults of these choices.
    """

    tasks: tuple[str, ...] = ("classify",)
    table: bool = False
    targets: tuple[str, ...] = ()
    model: Choice | None = None
    augment: Choice | None = None
    loss: Choice | None = None


@dataclass(frozen=True)
class OptimizerMarks(Marks):
    """An optimizer.

    `decoupled`: whether its own weight decay is decoupled from the gradient.
    `uses_closure`: whether its step evaluates the loss itself.
    `clips`: whether gradients may be clipped before its step.
    `full_batch`: whether the loss has to be the same function in each step, in one process and in full precision.
    `linear`: whether it is for linear models only.
    `groups`: whether it takes groups of parameters with rates of their own.
    """

    decoupled: bool = False
    uses_closure: bool = False
    clips: bool = True
    full_batch: bool = False
    linear: bool = False
    groups: bool = True


@dataclass(frozen=True)
class ScheduleMarks(Marks):
    """A schedule. `validation`: whether it follows the score of the validation split."""

    validation: bool = False


@dataclass(frozen=True)
class Metric:
    """A number that a task measures of a split: its name, its direction, and its unit ("" for a share or a count)."""

    name: str
    higher_is_better: bool = True
    unit: str = ""


@dataclass(frozen=True)
class TaskMarks(Marks):
    """A task.

    `metrics`: what it measures of a split.
    `target`: what its losses have to take (LossMarks.targets).
    `moves`: what has to move with the pixels of its images (AugmentMarks.moves).
    `targets_are`: what the targets are, in words that go behind "has": "objects".
    `defaults`: choice -> entry, where neither the model nor the data set names one.
    `adapts`: names of data sets that serve other tasks, and that the task can use all the same.
    `example`: image size and classes with which `dlzoo show model` shows a model that says nothing of them.
    """

    metrics: tuple[Metric, ...] = ()
    target: str = ""
    moves: tuple[str, ...] = ()
    targets_are: str = ""
    defaults: Mapping[str, Choice] = field(default_factory=dict)
    adapts: tuple[str, ...] = ()
    example: tuple[int, int] | None = None
