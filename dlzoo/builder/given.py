"""Runs whose network or data sets are objects of a Python program: what their configs say, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from dlzoo.config import Config, compose
from dlzoo.core.errors import UserError
from dlzoo.core.given import CLASS, OBJECT, Given, MapDataset, classes_in, given, missing
from dlzoo.core.rng import keeping_generators
from dlzoo.data.splits import Splits
from dlzoo.data.storage.item_objects import ItemObjects
from dlzoo.data.storage.items import Items
from dlzoo.models.given import GivenNetwork


def check_objects(model: object, data: object) -> Given:
    """Return the objects that were passed to `dlzoo.train`.

    Raises:
        UserError: if they are not a network and two or three map-style data sets.
    """
    if model is not None and not isinstance(model, nn.Module):
        hint = f"type model={model} in the list of settings" if isinstance(model, str) else "pass an instance of it"
        raise UserError(f"model must be an nn.Module, not {_described(model)}; {hint}")
    if isinstance(model, nn.Module):
        if any(isinstance(each, UninitializedParameter) for each in model.parameters()):
            raise UserError(f"model: {type(model).__name__} has parameters that are not initialised yet (a lazy layer);"
                            " call it once on a batch of images")  # fmt: skip
        if not any(each.requires_grad for each in model.parameters()):
            raise UserError(f"model: {type(model).__name__} has no parameter to train")
    if data is None:
        return Given(model)
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise UserError("data must be (train, test) or (train, validation, test), data sets of torch, not"
                        f" {_described(data)}")  # fmt: skip
    for place, dataset in enumerate(data):
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")) or isinstance(dataset, str):
            raise UserError(f"data[{place}] is {_described(dataset)}, not a map-style data set with __len__ and"
                            " __getitem__")  # fmt: skip
    return Given(model, tuple(data))


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    count = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    return "None" if value is None else f"a {type(value).__name__}{count}"


def compose_with(overrides: Sequence[str], objects: Given) -> Config:
    """Compose the config of a run with objects; it names their classes.

    Raises:
        UserError: for settings that do not go with them.
    """
    if isinstance(overrides, str) or objects == Given():
        return compose(overrides)
    classes, words = objects.classes(), []
    for choice in classes:
        for typed in overrides:
            if typed.partition("=")[0].lstrip("+") == choice or typed.lstrip("+").startswith(f"{choice}.pretrained="):
                raise UserError(f"{typed!r} and {choice}={classes[choice]}(...) were both given; leave one out")
    if objects.model is not None:
        words.append(f"model={OBJECT}")
    if objects.data is not None:
        words.append(f"data={_entry_for(objects.data[0])}")
    config = compose([*overrides, *words])
    for choice, name in classes.items():
        config[choice][CLASS] = name
    _check_settings(config, objects)
    return config


def _entry_for(dataset: MapDataset) -> str:
    """Return the hidden entry for a training data set, by the target of its first item."""
    items = Items(dataset, "train")
    if not len(items):
        raise UserError(f"the {items.name} is empty")
    with keeping_generators():
        _, target = items.read_original(0, items.fixed_seeds(torch.tensor([0]))[0])
    if isinstance(target, ItemObjects):
        return f"{OBJECT}_objects"
    return OBJECT if isinstance(target, int) else f"{OBJECT}_numbers"


def _check_settings(config: Config, objects: Given) -> None:
    """Refuse settings that need what an object does not have."""
    trainer = config["trainer"]
    if trainer["devices"] != 1 or trainer["nodes"] != 1:
        raise UserError("objects cannot be sent to other processes: with model= or data= set trainer.devices=1 and"
                        " trainer.nodes=1")  # fmt: skip
    if objects.model is None:
        return
    name = type(objects.model).__name__
    if config["init_from"]:
        raise UserError(f"init_from={config['init_from']}: training starts from the weights that {name} has; load the"
                        " weights into it before")  # fmt: skip
    if config["init"]["name"] != "torch" or config["init"]["zero_last_norm"]:
        raise UserError(f"init={config['init']['name']}: training starts from the weights that {name} has; initialise"
                        " it before, and leave init out")  # fmt: skip


def check_given(path: Path, config: Config, verb: str = "resume") -> None:
    """Check that the objects of this process are those that a run was started with, as far as classes tell.

    Args:
        path: the run directory.
        verb: what is done with the run: "resume", "evaluate".

    Raises:
        UserError: if they are not.
    """
    expected, here = classes_in(config), given().classes()
    if typed := next((choice for choice in expected if config[choice][CLASS] is None), None):
        raise missing(typed, None)
    if expected == here:
        return
    if not expected:
        raise UserError(f"{path} was not started with objects; {verb} it without model= and data=")
    words = ", ".join(f"{choice}=..." for choice in expected)
    names = " and ".join(f"{choice}: {name}" for choice, name in expected.items())
    what = "an object" if len(expected) == 1 else "objects"
    call = f"dlzoo.train(['resume={path}'], {words})" if verb == "resume" else f"Python, with {words}"
    found = " and ".join(f"{choice}: {name}" for choice, name in here.items())
    raise UserError(f"{path} was started with {what} ({names}){f', not {found}' if found else ''}; {verb} it"
                    f" {'with' if verb == 'resume' else 'in'} {call}")  # fmt: skip


def check_given_for_files(path: Path, config: Config, record: Mapping[str, Any]) -> None:
    """Check that a run can make predictions for image files: its data sets are not needed.

    Raises:
        UserError: if its network is an object that is not in this process, or was trained on float tensors.
    """
    expected, here = classes_in(config).get("model"), given().classes().get("model")
    if expected is None and here is not None:
        raise UserError(f"{path} was not started with a network as an object; predict with it without model=")
    if expected != here:
        found = "" if here is None else f", not {here}"
        raise UserError(f"{path} was started with an object (model: {expected}){found}; give it in Python:"
                        f" dlzoo.load('{path}').predict(images, model=...)")  # fmt: skip
    if record.get("float_images"):
        raise UserError(f"{path} was trained on float tensors, not on images: call the network on such tensors")


def check_float_images(config: Config, data: Splits) -> None:
    """Refuse settings that need uint8 images, if a given data set has float tensors.

    Raises:
        UserError: for the first such setting.
    """
    if not data.is_float:
        return
    augment = config["augment"]
    used = [f"augment={augment['name']}"] if augment["name"] != "none" else []
    used += [f"augment.cutout={augment['cutout']}"] if augment["cutout"] else []
    used += [f"data.test_shift={config['data']['test_shift']}"] if config["data"]["test_shift"] != "none" else []
    used += ["trainer.self_adversarial"] if config["trainer"]["self_adversarial"] else []
    if used:
        raise UserError(f"{used[0]} is for uint8 images, but the data sets have float tensors, which are used as they"
                        " are; leave it out, or leave out their transform to float")  # fmt: skip


def check_outputs(network: nn.Module, outputs: Any, batch_size: int, num_classes: int) -> None:
    """Check what a given network returns in a training step.

    Raises:
        UserError: if it is not a tensor (batch_size, num_classes).
    """
    if not isinstance(network, GivenNetwork):
        return
    shape = (batch_size, num_classes)
    if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape) != shape:
        found = f"a tensor {tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else _described(outputs)
        raise UserError(
            f"model: {type(network.given).__name__} returns {found} for {batch_size} images, but must return a tensor"
            f" {shape}: a column for each class, or number to predict, of the data"
        )


def trained_network(network: nn.Module, evaluated: nn.Module) -> None:
    """Copy the evaluated weights, such as averaged ones, into a given network, in evaluation mode on its own device."""
    if isinstance(network, GivenNetwork):
        if evaluated is not network:
            network.load_state_dict(evaluated.state_dict())
        network.eval().to(network.home)
