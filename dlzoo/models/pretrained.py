"""Weights that torchvision learnt on ImageNet, for our own models."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dlzoo.core.errors import UserError, first_line
from dlzoo.layers.head import is_head_key

Normalisation = tuple[list[float], list[float]]

IMAGENET: Normalisation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
#: torchvision's GoogLeNet turns ImageNet's normalisation back into this one inside.
GOOGLENET: Normalisation = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def counterpart_of(name: str, norm: str, counterparts: Mapping[str, str]) -> str:
    """Return the name of torchvision's model whose weights ours can have.

    Args:
        name: of our model, for errors.
        norm: the norm that it has; what differs from bn in training only has bn's weights.
        counterparts: norm -> the name of the model in torchvision that has it.

    Raises:
        UserError: if there is none.
    """
    where = f"model={name} model.pretrained=true"
    if not counterparts:
        raise UserError(f"{where}: torchvision has no such model; model=timm and model=torchvision have others")
    kind = "bn" if norm in ("sync_bn", "cmbn") else norm
    if kind not in counterparts:
        raise UserError(
            f"{where}: there are weights for norm={' or norm='.join(counterparts)} only, not for norm={norm}"
        )
    return counterparts[kind]


def load_pretrained(network: nn.Module, name: str, counterpart: str) -> Normalisation:
    """Load the weights of torchvision's counterpart; the mean and deviation of a channel that they expect.

    Args:
        network: ours, on the CPU. Its head stays new if it has another number of classes than 1000.

    Raises:
        UserError: if the weights cannot be had, or do not fit the model as it is set.
    """
    where = f"model={name} model.pretrained=true"
    try:
        reference = download(counterpart)
    except Exception as error:
        raise UserError(f"{where}: the weights could not be downloaded ({first_line(error)})") from error
    copy_weights(reference, network, where)
    return usual_normalisation(name)


def usual_normalisation(name: str) -> Normalisation:
    """Return the mean and the deviation of a channel that torchvision's weights for our model expect."""
    return GOOGLENET if name == "googlenet" else IMAGENET


def download(counterpart: str) -> nn.Module:
    """Return torchvision's model with its best weights, from torch's cache or the internet."""
    import torchvision.models as zoo

    return zoo.get_model(counterpart, weights="DEFAULT")


def copy_weights(reference: nn.Module, network: nn.Module, where: str) -> None:
    """Copy the state of torchvision's model in order: ours name it otherwise, and have it in the same order.

    Auxiliary classifiers are copied if ours has them too.

    Raises:
        UserError: if another tensor than the head's has another shape.
    """
    ours, theirs = network.state_dict(), reference.state_dict()
    if not any(key.startswith("aux") for key in ours):
        theirs = {key: value for key, value in theirs.items() if not key.startswith("aux")}
    pairs = list(zip(ours, theirs.values(), strict=False))
    wrong = [key for key, value in pairs if ours[key].shape != value.shape and not is_head_key(key)]
    if wrong or len(ours) != len(theirs):
        raise UserError(
            f"{where}: the weights do not fit ({wrong[0] if wrong else 'other layers'}); they are for the model as"
            " torchvision has it: images of 3 channels and 224 px, or a model.stem=imagenet, and nothing else changed"
        )
    network.load_state_dict({key: value for key, value in pairs if ours[key].shape == value.shape}, strict=False)
