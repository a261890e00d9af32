"""dlzoo: the training framework for people who compare deep-learning techniques.

>>> import dlzoo
>>> network = dlzoo.build_model("densenet121", num_classes=10, norm="gn")
>>> loss = dlzoo.build_loss("cross_entropy", label_smoothing=0.1)
>>> run = dlzoo.train(["model=densenet121", "norm=gn"])

Importing this package imports no torch: each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from dlzoo.core.errors import UserError
from dlzoo.core.index import available

if TYPE_CHECKING:
    from dlzoo.builder.execute import train
    from dlzoo.builder.model import build, build_loss, build_model

__version__ = "0.1.0"
__all__ = ["UserError", "__version__", "available", "build", "build_loss", "build_model", "train"]


_HOMES = {"train": "dlzoo.builder.execute"} | dict.fromkeys(
    ("build", "build_loss", "build_model"), "dlzoo.builder.model"
)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dlzoo' has no attribute {name!r}")
