"""Weights that torchvision learnt on ImageNet, for our own models."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dlzoo.errors import UserError, first_line

Normalisation = tuple[list[float], list[float]]

IMAGENET: Normalisation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
#: torchvision's GoogLeNet turns ImageNet's normalisation back into this one inside.
GOOGLENET: Normalisation = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def load_pretrained(network: nn.Module, name: str, norm: str, counterparts: Mapping[str, str]) -> Normalisation:
    """Load the weights of torchvision's counterpart; the mean and deviation of a channel that they expect.

    Args:
        network: ours, on the CPU. Its head stays new if it has another number of classes than 1000.
        name: of the model, for errors.
        norm: the norm that the network has.
        counterparts: norm -> the name of the model in torchvision that has it.

    Raises:
        UserError: if there is none, its weights cannot be had, or they do not fit the model as it is set.
    """
    where = f"model={name} model.pretrained=true"
    if not counterparts:
        raise UserError(f"{where}: torchvision has no such model; model=timm and model=torchvision have others")
    if norm not in counterparts:
        raise UserError(
            f"{where}: there are weights for norm={' or norm='.join(counterparts)} only, not for norm={norm}"
        )
    try:
        reference = download(counterparts[norm])
    except Exception as error:
        raise UserError(f"{where}: the weights could not be downloaded ({first_line(error)})") from error
    copy_weights(reference, network, where)
    return GOOGLENET if name == "googlenet" else IMAGENET


def download(counterpart: str) -> nn.Module:
    """torchvision's model with its best weights, from torch's cache or the internet."""
    import torchvision.models as zoo

    return zoo.get_model(counterpart, weights="DEFAULT")


def copy_weights(reference: nn.Module, network: nn.Module, where: str) -> None:
    """Copy the state of torchvision's model in order: ours name it otherwise, and have it in the same order.

    Auxiliary classifiers are copied if ours has them too.

    Raises:
        UserError: if another tensor than the head's has another shape.
    """
    own = network.state_dict()
    theirs = reference.state_dict()
    if not any(key.startswith("aux") for key in own):
        theirs = {key: value for key, value in theirs.items() if not key.startswith("aux")}
    fits = len(own) == len(theirs)
    copied = {}
    for (key, mine), value in zip(own.items(), theirs.values(), strict=False):
        if f".{key}".rpartition(".")[0].endswith(".head") and mine.shape != value.shape:
            continue
        fits = fits and mine.numel() == value.numel()
        copied[key] = value
    if not fits:
        raise UserError(
            f"{where}: the weights are those of the model as torchvision has it, for images of 3 channels and at least"
            " 65 px (model.stem=imagenet takes them for smaller ones); leave its other settings and parts as they are"
        )
    network.load_state_dict({key: value.view(own[key].shape) for key, value in copied.items()}, strict=False)
