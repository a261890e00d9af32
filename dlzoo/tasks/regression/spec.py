"""The regression task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from dlzoo.core import index
from dlzoo.core.entries import Metric
from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES, TASKS
from dlzoo.data.data_set import TargetKind
from dlzoo.data.splits import Splits
from dlzoo.tasks.base import Answer, Config, Pieces, Record, TaskSpec, Tested
from dlzoo.tasks.loss_check import check_loss
from dlzoo.tasks.prediction import refuse_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.data.storage.image_source import ImageSource
    from dlzoo.tasks.prediction import Trained
    from dlzoo.tasks.regression.metrics import RegressionEvaluation
    from dlzoo.tasks.regression.module import RegressionModule
    from dlzoo.tasks.regression.prediction import NumberPrediction


@TASKS.register(
    "regress",
    source="Bishop 2006, chapter 3",
    target="regression",
    targets_are="numbers",
    defaults={"loss": "mse"},
    metrics=(
        Metric("loss", higher_is_better=False),
        Metric("rmse", higher_is_better=False, unit="unit of the target", label="RMSE"),
        Metric("mae", higher_is_better=False, unit="unit of the target", label="mean absolute error"),
        Metric("r2", label="R²"),
    ),
)
class RegressionSpec(TaskSpec):
    """Regression of D numbers for each sample: labels (N, D) float64."""

    name = "regress"
    target = TargetKind("numbers to predict")

    def check_config(self, config: Config, data: Splits) -> None:
        data_name, link = config["data"]["name"], config["loss"].get("link")
        if link not in (None, "identity"):
            raise UserError(f"loss.link={link} is for classes, but data={data_name} has numbers; leave it out")
        pairs = config["model"].get("pairs")  # of the simulation of boxes, which learns one for each row
        if pairs is not None and pairs < len(data.train):
            raise UserError(f"model.pairs={pairs} is less than the {len(data.train)} pairs of data={data_name}")
        mixing = [key for key in ("mixup", "cutmix") if config["augment"][key] > 0]
        if mixing:
            raise UserError(
                f"augment.{mixing[0]} mixes classes, but data={data_name} has numbers to predict;"
                f" set augment.{mixing[0]}=0"
            )

    def notes(self, data: Splits) -> list[str]:
        parts = {"validation": data.val, "test": data.test}
        return [note for name, part in parts.items() if part and (note := _note_on_r2(name, part.labels, data.classes))]

    def loss(self, config: Config, data: Splits) -> nn.Module:
        _, loss = LOSSES.from_section(config["loss"])
        count = len(data.classes)
        check_loss(
            config["loss"],
            loss,
            torch.zeros(count, count),
            torch.eye(count),
            f"{count} target{'s' if count > 1 else ''}",
        )
        return loss

    def module(self, pieces: Pieces, config: Config, data: Splits) -> RegressionModule:
        from dlzoo.tasks.regression.module import RegressionModule, Standardise

        boxes = "boxes" in index.marks("data", config["data"]["name"]).targets
        standardise = Standardise(data.train.labels, identity=boxes)
        return RegressionModule(**vars(pieces), standardise=standardise)

    def plots(self, tested: Tested) -> dict[str, Figure]:
        from dlzoo.metrics import plots
        from dlzoo.tasks.regression.plots import fitted_curve, predicted_and_true

        module, data = tested.module, tested.data
        drawn = {
            "curves": plots.curves(tested.records, tested.title, module.logged_names[1], validation=tested.data.val)
        }
        shown = cast("RegressionEvaluation", module.tested).shown.columns()
        drawn["predictions"] = predicted_and_true(shown["prediction"], shown["label"], data.classes)
        if data.source.one_input:
            features = data.test.images[shown["id"]]  # the first feature of a polynomial is the input itself
            drawn["fit"] = fitted_curve(features[..., 0].flatten(), shown["prediction"], shown["label"])
        return drawn

    def check_prediction(self, record: Record, path: str, conditions: Sequence[str], out: str | None) -> None:
        refuse_options(path, conditions, out)

    def predict(self, images: Sequence[ImageSource], trained: Trained, most: int) -> list[NumberPrediction]:
        from dlzoo.tasks.regression.prediction import predict_numbers

        return predict_numbers(trained.outputs(images), trained)

    def predict_rows(self, rows: Tensor, trained: Trained, most: int) -> list[NumberPrediction]:
        from dlzoo.tasks.regression.prediction import predict_numbers

        return predict_numbers(trained.network(rows), trained)

    def format_prediction(self, prediction: Answer) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in prediction["values"].items())


def _note_on_r2(part: str, labels: Tensor, names: Sequence[str]) -> str | None:
    """Return a note if r2 is not defined on the split `part`, whose labels are (N, D); None if it is."""
    constant = labels.amin(0) == labels.amax(0)
    if not constant.any():
        return None
    if len(labels) == 1:
        note = f"{part} has one row, for which r2 is not defined"
    else:
        same = ", ".join(name for name, each in zip(names, constant.tolist(), strict=True) if each)
        note = f"{same} is the same in all {len(labels):,} {part} rows, for which r2 is not defined"
    if part == "validation" and constant.all():
        note += " (raise data.val_fraction); early stopping, schedule=plateau and trainer.select do not follow it"
    return note
