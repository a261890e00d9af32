"""dlzoo: the training framework for people who compare deep-learning techniques.

>>> import dlzoo
>>> network = dlzoo.build_model("densenet121", num_classes=10, norm="gn")
>>> loss = dlzoo.build_loss("cross_entropy", label_smoothing=0.1)
>>> run = dlzoo.train(["model=densenet121", "norm=gn"])
>>> run.predict("cat.jpg"), dlzoo.load("outputs/x").history, dlzoo.runs("outputs"), dlzoo.compare(["norm=bn,gn"])

Importing this package imports no torch: each name below is fetched when it is first used. What is not named here is
internal, and may move.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from dlzoo.core.errors import UserError
from dlzoo.core.index import available

if TYPE_CHECKING:
    from dlzoo.api.comparison import Report, compare, report
    from dlzoo.api.plots import Plots
    from dlzoo.api.run import Run, load
    from dlzoo.api.table import RunTable, runs
    from dlzoo.api.training import train
    from dlzoo.builder.model import build, build_loss, build_model
    from dlzoo.core.entries import Metric
    from dlzoo.core.registries import (
        ACTS,
        ATTENTIONS,
        AUGMENTS,
        CONVS,
        DATASETS,
        DROPS,
        HEADS,
        HOOKS,
        INITS,
        LOSSES,
        MODELS,
        NECKS,
        NMS,
        NORMS,
        OPTIMIZERS,
        POOLS,
        SCHEDULES,
        TASKS,
        UPSAMPLES,
    )
    from dlzoo.data.data_set import DataSet, TargetKind
    from dlzoo.data.image_set import ImageSet
    from dlzoo.data.loader import Batch
    from dlzoo.data.split import Split
    from dlzoo.data.table_set import TableSet
    from dlzoo.engine.hooks.hook import Hook, HookStart
    from dlzoo.engine.task_module import TaskModule
    from dlzoo.layers.conv import ConvNormAct
    from dlzoo.layers.parts import Parts
    from dlzoo.metrics.accumulators import Sum, Table
    from dlzoo.metrics.evaluation import Evaluation
    from dlzoo.tasks.base import TaskSpec
    from dlzoo.tasks.classification.prediction import ClassPrediction
    from dlzoo.tasks.detection.prediction import ObjectPrediction
    from dlzoo.tasks.prediction import Prediction
    from dlzoo.tasks.regression.prediction import NumberPrediction
    from dlzoo.tasks.segmentation.prediction import MaskPrediction

__version__ = "0.1.0"

_REGISTRIES = (
    *("ACTS", "ATTENTIONS", "AUGMENTS", "CONVS", "DATASETS", "DROPS", "HEADS", "HOOKS", "INITS", "LOSSES", "MODELS"),
    *("NECKS", "NMS", "NORMS", "OPTIMIZERS", "POOLS", "SCHEDULES", "TASKS", "UPSAMPLES"),
)
#: Public name -> the module that it is fetched from.
_HOMES = {
    **dict.fromkeys(("Report", "compare", "report"), "dlzoo.api.comparison"),
    "Plots": "dlzoo.api.plots",
    **dict.fromkeys(("Run", "load"), "dlzoo.api.run"),
    **dict.fromkeys(("RunTable", "runs"), "dlzoo.api.table"),
    "train": "dlzoo.api.training",
    **dict.fromkeys(("build", "build_loss", "build_model"), "dlzoo.builder.model"),
    **dict.fromkeys(_REGISTRIES, "dlzoo.core.registries"),
    "Metric": "dlzoo.core.entries",
    **dict.fromkeys(("DataSet", "TargetKind"), "dlzoo.data.data_set"),
    "ImageSet": "dlzoo.data.image_set",
    "Batch": "dlzoo.data.loader",
    "Split": "dlzoo.data.split",
    "TableSet": "dlzoo.data.table_set",
    **dict.fromkeys(("Hook", "HookStart"), "dlzoo.engine.hooks.hook"),
    "TaskModule": "dlzoo.engine.task_module",
    "ConvNormAct": "dlzoo.layers.conv",
    "Parts": "dlzoo.layers.parts",
    **dict.fromkeys(("Sum", "Table"), "dlzoo.metrics.accumulators"),
    "Evaluation": "dlzoo.metrics.evaluation",
    "TaskSpec": "dlzoo.tasks.base",
    "Prediction": "dlzoo.tasks.prediction",
    "ClassPrediction": "dlzoo.tasks.classification.prediction",
    "ObjectPrediction": "dlzoo.tasks.detection.prediction",
    "NumberPrediction": "dlzoo.tasks.regression.prediction",
    "MaskPrediction": "dlzoo.tasks.segmentation.prediction",
}
__all__ = [
    "ACTS",
    "ATTENTIONS",
    "AUGMENTS",
    "CONVS",
    "DATASETS",
    "DROPS",
    "HEADS",
    "HOOKS",
    "INITS",
    "LOSSES",
    "MODELS",
    "NECKS",
    "NMS",
    "NORMS",
    "OPTIMIZERS",
    "POOLS",
    "SCHEDULES",
    "TASKS",
    "UPSAMPLES",
    "Batch",
    "ClassPrediction",
    "ConvNormAct",
    "DataSet",
    "Evaluation",
    "Hook",
    "HookStart",
    "ImageSet",
    "MaskPrediction",
    "Metric",
    "NumberPrediction",
    "ObjectPrediction",
    "Parts",
    "Plots",
    "Prediction",
    "Report",
    "Run",
    "RunTable",
    "Split",
    "Sum",
    "Table",
    "TableSet",
    "TargetKind",
    "TaskModule",
    "TaskSpec",
    "UserError",
    "__version__",
    "available",
    "build",
    "build_loss",
    "build_model",
    "compare",
    "load",
    "report",
    "runs",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dlzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """This package, whose functions `runs` and `report` are named like two of its subpackages.

    Importing a subpackage sets the attribute of that name. Here it is ignored: `dlzoo.runs` is always the function, and
    `from dlzoo.runs import table` works as everywhere.
    """

    @property
    def runs(self) -> object:
        """The function."""
        return __getattr__("runs")

    @runs.setter
    def runs(self, value: object) -> None: ...

    @property
    def report(self) -> object:
        """The function."""
        return __getattr__("report")

    @report.setter
    def report(self, value: object) -> None: ...


sys.modules[__name__].__class__ = _Package
