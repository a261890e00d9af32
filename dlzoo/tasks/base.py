"""The contract of a task: everything that depends on what is learnt.

A task is a folder whose `spec` module registers a TaskSpec in TASKS and imports whatever else the task registers:
models, losses, data sets. Builder, commands and the rest call the methods below and never ask which task it is.

The spec of a task is imported whenever a model is looked up: what needs Lightning, matplotlib or the like is imported
in the methods that need it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from dlzoo.core.entries import ModelMarks
from dlzoo.core.errors import UserError, first_line
from dlzoo.data.data_set import DataSet, TargetKind
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import BatchTransform, ImageTransform, Normalise
from dlzoo.data.transforms.settings import AugmentSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.data.loader import Loaders
    from dlzoo.engine.recipe import Context, Recipe
    from dlzoo.engine.task_module import TaskModule

Config = dict[str, Any]
Record = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Pieces:
    """What a LightningModule of a task is made from.

    Args:
        network: what is trained.
        loss_fn: what `TaskSpec.loss` returned.
        loaders, recipe, context: as TaskModule takes them.
    """

    network: nn.Module
    loss_fn: nn.Module
    loaders: Loaders
    recipe: Recipe
    context: Context


@dataclass(frozen=True)
class Tested:
    """A run after its test, for plots and files.

    Args:
        module: with `tested`, the evaluation of the test split, and `test_metrics`.
        data: the splits.
        records: what was logged: a dict for each line of metrics.jsonl.
        title: of the run.
    """

    module: TaskModule
    data: Splits
    records: Sequence[Record] = ()
    title: str = ""


@dataclass(frozen=True)
class Prediction:
    """A request for predictions by the network of a run.

    Args:
        path: the run directory.
        config, record: its frozen config, and what its run.json says.
        network: with its weights, in evaluation mode.
        normalise: uint8 images -> what the network sees.
        files: image files.
        most: answers of a file.
        out: a folder for what is drawn; None for the run's own.
    """

    path: Path
    config: Config
    record: Record
    network: nn.Module
    normalise: Normalise
    files: Sequence[str]
    most: int = 5
    out: str | None = None


class TaskSpec(ABC):
    """What dlzoo has to know of a task. The registration adds what the command line needs (core.entries.TaskMarks)."""

    #: The registered name.
    name: ClassVar[str]
    #: What its labels are.
    target: ClassVar[TargetKind]
    #: Name of a data set that serves other tasks -> what makes a data set for this one of it.
    adapts: ClassVar[Mapping[str, Callable[[Any], DataSet]]] = {}

    def adapt(self, data: str, found: DataSet) -> DataSet:
        """The data set `found`, which is called `data`, with labels for this task."""
        return found if found.task == self.name else self.adapts[data](found)

    # Before a run

    def refuse(self, config: Config, data: Splits) -> None:  # noqa: B027
        """Look at whether the choices of a config can meet, beyond what registrations say.

        Raises:
            UserError: for choices that cannot, with those that could.
        """

    @abstractmethod
    def loss(self, config: Config, data: Splits) -> nn.Module:
        """Return the loss, after it was tried on the shapes of this data.

        Raises:
            UserError: if it cannot work with such targets.
        """

    def model_arguments(self, config: Config, data: Splits) -> dict[str, Any]:
        """Arguments that models of the task are injected with beside classes, channels and image size; plain values."""
        return {}

    def usual_arguments(self, marks: ModelMarks) -> dict[str, Any]:
        """The same for a model that is built outside a run, from its registration."""
        return {}

    def learnt_arguments(self, data: Splits) -> dict[str, Any]:
        """The same of arguments that are learnt on the training split, and that a network on the meta device lacks."""
        return {}

    def transform(
        self, settings: AugmentSettings, augment: Augment, normalise: Normalise, data: Splits
    ) -> BatchTransform:
        """Return what happens to the images and labels of a training step.

        Raises:
            UserError: for settings that do not go with the task.
        """
        return ImageTransform(augment, normalise, settings.mixer(len(data.classes)))

    @abstractmethod
    def module(self, pieces: Pieces, config: Config, data: Splits) -> TaskModule:
        """Return the LightningModule that trains and evaluates."""

    def backbone(self, network: nn.Module) -> list[nn.Module]:
        """The modules that freeze=backbone freezes: all children but the head."""
        return [child for name, child in network.named_children() if name != "head"]

    def load_backbone(self, state: dict[str, Tensor], network: nn.Module, origin: str) -> bool:
        """Load weights that are of the network's backbone alone; whether they were.

        Raises:
            UserError: if they do not fit.
        """
        return False

    def refit(self, state: dict[str, Tensor], network: nn.Module, origin: str, *, new_head: bool) -> None:  # noqa: B027
        """Change in `state`, weights from elsewhere, what has to be as the network has it.

        Raises:
            UserError: if the weights cannot be used so.
        """

    def facts(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What run.json says of the task, given what `model_arguments` returned."""
        return {}

    def recorded_arguments(self, record: Record) -> dict[str, Any]:
        """`model_arguments` of a run that has been, from its run.json."""
        return {}

    def describe(self, record: Record) -> str:
        """The targets of a run in words, from its run.json: "10 classes"."""
        return f"predicts {', '.join(record['classes'])}"

    def draw_sample(self, pixels: Tensor, label: Tensor, classes: Sequence[str], *, mixed: bool) -> tuple[Tensor, str]:
        """An image (H, W, C) uint8 with its target, drawn into it or as a few words; `mixed`: as a training sees it."""
        return pixels, ""

    # After a run

    @abstractmethod
    def plots(self, tested: Tested) -> dict[str, Figure]:
        """Return name -> plot of a run; its curves among them."""

    def write_evaluation(self, tested: Tested, metrics: Mapping[str, float], folder: Path) -> None:  # noqa: B027
        """Write to `folder` what `dlzoo eval` leaves beside the numbers that it prints.

        Raises:
            UserError: if it cannot be written.
        """

    def refuse_prediction(self, record: Record, path: str, conditions: Sequence[str], out: str | None) -> None:
        """Look at whether predictions can be made by a run, before its network is built.

        Raises:
            UserError: if not.
        """
        raise UserError(f"{path}: dlzoo predict does not support task={self.name}")

    def predict(self, request: Prediction) -> list[Answer]:
        """Return {"file": ..., ...} for each image file.

        Raises:
            UserError: if a file is no image, or something cannot be written.
        """
        raise NotImplementedError

    def answer(self, answer: Answer) -> str:
        """One of the answers of `predict` in a line."""
        raise NotImplementedError


def check_loss(section: Config, loss_fn: nn.Module, input: Tensor, target: Tensor, what: str) -> None:
    """Call a loss once, on what stands for the data.

    Args:
        section: of the config.
        what: the targets, such as "10 classes".

    Raises:
        UserError: if it fails, or is not finite.
    """
    settings = ", ".join(f"{name}={value}" for name, value in section.items() if value is not None)
    try:
        value = loss_fn(input, target)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"loss: {settings} does not work for {what}: {first_line(error)}") from error
    if not value.isfinite():
        raise UserError(f"loss: {settings} gives {value.item()} for one sample of each of {what}")
