"""The contract of a task: everything that depends on what is learnt.

A task is a folder whose `spec` module registers a TaskSpec in TASKS and imports whatever else the task registers:
models, losses, data sets. Builder, commands and the rest call the methods below and never ask which task it is.

The spec of a task is imported whenever a model is looked up, so it imports Lightning, matplotlib and the like only
inside the methods that need them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from dlzoo.config import Config
from dlzoo.core.entries import ModelMarks
from dlzoo.core.errors import UserError
from dlzoo.data.data_set import DataSet, TargetKind
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import BatchTransform, ImageTransform, Normalise
from dlzoo.data.transforms.settings import AugmentSettings
from dlzoo.data.transforms.test_time import make_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.data.loader import Loaders
    from dlzoo.data.storage.image_source import ImageSource
    from dlzoo.engine.recipe import Context, Recipe
    from dlzoo.engine.task_module import TaskModule
    from dlzoo.tasks.prediction import FileRequest, Prediction, Trained

Record = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Pieces:
    """Constructor arguments of a task's LightningModule.

    Args:
        network: the network to train.
        loss_fn: the loss that `TaskSpec.loss` returned.
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
        module: the module, with `tested`, the evaluation of the test split, and `test_metrics`.
        data: the splits.
        records: the logged scalars, a dict for each line of metrics.jsonl.
        title: title of the run.
    """

    module: TaskModule
    data: Splits
    records: Sequence[Record] = ()
    title: str = ""


class TaskSpec(ABC):
    """Task specification. The registration adds what the command line needs (core.entries.TaskMarks)."""

    #: The registered name.
    name: ClassVar[str]
    #: The kind of its labels.
    target: ClassVar[TargetKind]
    #: Name of a data set that serves other tasks -> a function that converts that data set for this task.
    adapts: ClassVar[Mapping[str, Callable[[Any], DataSet]]] = {}

    def adapt(self, name: str, data_set: DataSet) -> DataSet:
        """Return the data set registered as `name`, with labels for this task."""
        return data_set if data_set.task == self.name else self.adapts[name](data_set)

    # Before a run

    def check_config(self, config: Config, data: Splits) -> None:  # noqa: B027
        """Check whether the choices of a config are compatible, beyond what registrations declare.

        Raises:
            UserError: for incompatible choices; the message names compatible ones.
        """

    def notes(self, data: Splits) -> list[str]:
        """Return notes on the data, such as metrics that are not defined for it."""
        return []

    def undefined_metrics(self, data: Splits) -> set[str]:
        """Return the metrics of the task that are not defined for the validation or the test split of this data."""
        return set()

    @abstractmethod
    def loss(self, config: Config, data: Splits) -> nn.Module:
        """Return the loss, after calling it once on the shapes of this data.

        Raises:
            UserError: if it does not work with such targets.
        """

    def model_arguments(self, config: Config, data: Splits) -> dict[str, Any]:
        """Return arguments to inject into models of the task beside classes, channels and image size; plain values."""
        return {}

    def usual_arguments(self, marks: ModelMarks) -> dict[str, Any]:
        """Return the injected arguments of a model that is built outside a run, from its registration."""
        return {}

    def learnt_arguments(self, data: Splits) -> dict[str, Any]:
        """Return injected arguments that are learnt on the training split; a network on the meta device lacks them."""
        return {}

    def transform(
        self, settings: AugmentSettings, augment: Augment, normalise: Normalise, data: Splits
    ) -> BatchTransform:
        """Return the transform of the images and labels of a training step.

        Raises:
            UserError: for settings that the task does not support.
        """
        return ImageTransform(augment, normalise, settings.mixer(len(data.classes)))

    def views(self, settings: AugmentSettings, augment: Augment) -> Callable[[Tensor], list[Tensor]]:
        """Return a function that makes the evaluated views of images: uint8 (N, C, H, W) -> each (N, C, h, w)."""
        return make_views(settings.test, augment)

    @abstractmethod
    def module(self, pieces: Pieces, config: Config, data: Splits) -> TaskModule:
        """Return the LightningModule that trains and evaluates."""

    def backbone_modules(self, network: nn.Module) -> list[nn.Module]:
        """Return the modules that freeze=backbone freezes: all children except the head."""
        return [child for name, child in network.named_children() if name != "head"]

    def load_backbone(self, state: dict[str, Tensor], network: nn.Module, origin: str) -> bool:
        """Load weights of the backbone only, and return True; return False if `state` holds other weights.

        Raises:
            UserError: if the backbone's weights do not fit.
        """
        return False

    def refit(self, state: dict[str, Tensor], network: nn.Module, origin: str, *, new_head: bool) -> None:  # noqa: B027
        """Replace entries of `state`, weights from elsewhere, that must equal those of the network.

        Raises:
            UserError: if the weights cannot be used.
        """

    def facts(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task's fields of run.json, given what `model_arguments` returned."""
        return {}

    def recorded_arguments(self, record: Record) -> dict[str, Any]:
        """Return `model_arguments` of an earlier run, from its run.json."""
        return {}

    def describe(self, record: Record) -> str:
        """Describe the targets of a run, from its run.json: "10 classes"."""
        return f"predicts {', '.join(record['classes'])}"

    def draw_sample(self, pixels: Tensor, label: Tensor, classes: Sequence[str], *, mixed: bool) -> tuple[Tensor, str]:
        """Return an image (H, W, C) uint8 with its target drawn in it, and a caption; `mixed`: as training sees it."""
        return pixels, ""

    # After a run

    @abstractmethod
    def plots(self, tested: Tested) -> dict[str, Figure]:
        """Return name -> plot of a run, including its curves."""

    def write_evaluation(self, tested: Tested, metrics: Mapping[str, float], folder: Path) -> None:  # noqa: B027
        """Write the files of `dlzoo eval` to `folder`, beside the numbers that it prints.

        Raises:
            UserError: if they cannot be written.
        """

    def check_prediction(self, record: Record, path: str, conditions: Sequence[str], out: str | None) -> None:
        """Check whether a run can make predictions, before its network is built.

        Raises:
            UserError: if it cannot.
        """
        raise UserError(f"{path}: dlzoo predict does not support task={self.name}")

    def image_reader(self, config: Config, record: Record) -> Callable[[ImageSource], Tensor]:
        """Return a function: one image -> the pixels that the network sees, uint8 (C, H, W), before normalisation."""
        from dlzoo.tasks.prediction import SquareReader, conversion_of

        return SquareReader(record["image_size"], record["in_channels"], conversion_of(config, record))

    def predict(self, images: Sequence[ImageSource], trained: Trained, most: int) -> Sequence[Prediction]:
        """Return the predictions of a network, one for each image.

        `most` is the largest number of results for an image, such as classes.

        Raises:
            UserError: if a file is not an image.
        """
        raise NotImplementedError

    def predict_rows(self, rows: Tensor, trained: Trained, most: int) -> Sequence[Prediction]:
        """Return, as `predict`, the predictions for the input (N, F, 1, 1) of a network that was trained on a table."""
        raise NotImplementedError

    def predict_files(self, request: FileRequest, trained: Trained) -> list[Answer]:
        """Return {"file": ..., ...} for each image file, for `dlzoo predict`; a task that draws images writes them.

        Raises:
            UserError: if a file is not an image, or something cannot be written.
        """
        results = self.predict([Path(file) for file in request.files], trained, request.most)
        return [{"file": file} | result.as_dict() for file, result in zip(request.files, results, strict=True)]

    def format_prediction(self, prediction: Answer) -> str:
        """Format one result of `predict_files` as a line."""
        raise NotImplementedError
