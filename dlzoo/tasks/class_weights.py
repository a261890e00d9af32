"""Build the loss of a run, with class weights that follow from its training samples."""

from __future__ import annotations

from torch import Tensor, nn

from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES


def build_loss(section: Config, counts: Tensor) -> nn.Module:
    """Return the loss of a section of the config, in which class_weights=balanced is replaced by numbers.

    Args:
        section: the loss's section of the config.
        counts: (K,), the training samples or pixels of each class.

    Raises:
        UserError: for settings that the loss refuses.
    """
    weights = section.get("class_weights")
    if weights == "balanced":
        section = {**section, "class_weights": balanced_weights(counts)}
    elif weights is not None and len(weights) != len(counts):
        raise UserError(f"loss.class_weights has {len(weights)} numbers, but there are {len(counts)} classes; give one"
                        " for each")  # fmt: skip
    elif weights is not None and not any(weights):
        raise UserError("loss.class_weights are all 0, so that no class would be learnt; give one above 0")
    _, loss = LOSSES.from_section(section)
    return loss


def balanced_weights(counts: Tensor) -> list[float]:
    """Return n / (K n_k) for each class, K being the classes that occur: the mean weight of a sample is 1.

    As scikit-learn's compute_class_weight. A class without a sample has the weight 1, which matters only where it
    occurs in another split.
    """
    counts = counts.double()
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1))
    return weights.where(present, 1.0).tolist()
