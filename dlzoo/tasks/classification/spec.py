"""The classification task."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from dlzoo.core import index
from dlzoo.core.entries import Metric
from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import TASKS
from dlzoo.data.data_set import TargetKind
from dlzoo.data.splits import Splits
from dlzoo.tasks.base import Answer, Config, Pieces, Record, TaskSpec, Tested
from dlzoo.tasks.class_weights import build_loss
from dlzoo.tasks.loss_check import check_loss
from dlzoo.tasks.prediction import refuse_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.data.storage.image_source import ImageSource
    from dlzoo.tasks.classification.metrics import ClassificationEvaluation
    from dlzoo.tasks.classification.module import ClassificationModule
    from dlzoo.tasks.classification.prediction import ClassPrediction
    from dlzoo.tasks.prediction import Trained

#: Maximum number of classes that a note names.
_SHOWN = 5
#: Maximum number of samples on which a loss is called before the training.
_CHECKED = 1000


@TASKS.register(
    "classify",
    source="Bishop 2006, chapter 4",
    target="classification",
    targets_are="classes",
    defaults={"model": "resnet20", "loss": "cross_entropy"},
    metrics=(
        Metric("loss", higher_is_better=False),
        Metric("accuracy", unit="fraction of samples", margin=0.01),
        Metric("accuracy_top5", unit="fraction of samples", label="top-5 accuracy", margin=0.01),
        Metric("f1_macro", label="macro-averaged F1", margin=0.01),
        Metric("calibration_error", higher_is_better=False),
    ),
    class_metric=Metric("recall"),
)
class ClassificationSpec(TaskSpec):
    """Classification with one class for each sample: labels (N,) int64."""

    name = "classify"
    target = TargetKind("classes", single_class=True)

    def check_config(self, config: Config, data: Splits) -> None:
        mixing = _mixing(config)
        if mixing and not index.marks("loss", config["loss"]["name"]).soft:
            losses = [f"loss={name}" for name in index.entries("loss") if _takes_probabilities(name)]
            raise UserError(
                f"loss={config['loss']['name']} needs one class for each sample, but augment.{mixing} mixes classes;"
                f" choose {' or '.join(losses)}"
            )

    def notes(self, data: Splits) -> list[str]:
        tested = data.test.labels.bincount(minlength=len(data.classes)).tolist()
        untested = [name for name, count in zip(data.classes, tested, strict=True) if not count]
        if not untested:
            return []
        shown = ", ".join(untested[:_SHOWN]) + (", ..." if len(untested) > _SHOWN else "")
        return [f"{len(untested):,} of {len(data.classes):,} classes have no test sample: {shown}"]

    def undefined_metrics(self, data: Splits) -> set[str]:
        from dlzoo.tasks.classification.metrics import has_top

        return set() if has_top(len(data.classes)) else {"accuracy_top5"}

    def loss(self, config: Config, data: Splits) -> nn.Module:
        count = len(data.classes)
        loss = build_loss(config["loss"], data.train.labels.bincount(minlength=count))
        samples = min(count, _CHECKED)
        target = torch.eye(samples, count) if _mixing(config) else torch.arange(samples)
        check_loss(config["loss"], loss, torch.zeros(samples, count), target, f"{count} classes")
        return loss

    def module(self, pieces: Pieces, config: Config, data: Splits) -> ClassificationModule:
        from dlzoo.tasks.classification.module import ClassificationModule

        return ClassificationModule(**vars(pieces), num_classes=len(data.classes))

    def draw_sample(self, pixels: Tensor, label: Tensor, classes: Sequence[str], *, mixed: bool) -> tuple[Tensor, str]:
        """Return the image with its class as caption; for a mixed image, the classes and their shares."""
        if label.dim() == 0:
            return pixels, "" if mixed else classes[int(label)]
        shares, names = label.topk(2)
        pairs = zip(shares.tolist(), names.tolist(), strict=True)
        return pixels, "\n".join(f"{share:.2f} {classes[name]}" for share, name in pairs if share > 0.005)

    def describe(self, record: Record) -> str:
        return f"{len(record['classes'])} classes"

    def plots(self, tested: Tested) -> dict[str, Figure]:
        from dlzoo.metrics import plots
        from dlzoo.tasks.classification.metrics import CONFUSION_CLASSES
        from dlzoo.tasks.classification.plots import confusion, worst_mistakes

        module, data = tested.module, tested.data
        evaluation = cast("ClassificationEvaluation", module.tested)
        drawn = {
            "curves": plots.curves(tested.records, tested.title, module.logged_names[1], validation=tested.data.val)
        }
        if len(data.classes) <= CONFUSION_CLASSES:
            drawn["confusion"] = confusion(evaluation.confusion.total(), data.classes)
        else:
            warnings.warn(f"no confusion matrix is drawn of {len(data.classes):,} classes, more than"
                          f" {CONFUSION_CLASSES:,}; the recall of each is in run.json", Note, stacklevel=2)  # fmt: skip
        if not data.is_table:

            def tested_images(indices: Tensor) -> Tensor:
                """Return the images as they were tested: (n, H, W, C)."""
                return module.loaders.test.apply_shift(data.test.images[indices], indices).permute(0, 2, 3, 1)

            drawn["mistakes"] = worst_mistakes(tested_images, evaluation.worst(), data.classes)
        return drawn

    def check_prediction(self, record: Record, path: str, conditions: Sequence[str], out: str | None) -> None:
        refuse_options(path, conditions, out)

    def predict(self, images: Sequence[ImageSource], trained: Trained, most: int) -> list[ClassPrediction]:
        from dlzoo.tasks.classification.prediction import predict_classes

        return predict_classes(trained.outputs(images), trained, most)

    def predict_rows(self, rows: Tensor, trained: Trained, most: int) -> list[ClassPrediction]:
        from dlzoo.tasks.classification.prediction import predict_classes

        return predict_classes(trained.network(rows), trained, most)

    def format_prediction(self, prediction: Answer) -> str:
        return ", ".join(f"{each['name']} {each['probability']:.1%}" for each in prediction["classes"][:3])


def _mixing(config: Config) -> str:
    """Return the augmentation that turns labels into probabilities, mixup or cutmix; "" if neither is used."""
    return next((key for key in ("mixup", "cutmix") if config["augment"][key] > 0), "")


def _takes_probabilities(loss: str) -> bool:
    marks = index.marks("loss", loss)
    return "classification" in marks.targets and marks.soft and marks.learns
