"""Load weights from a run's checkpoint or a state dict into a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlzoo.builder.foreign_weights import load_foreign
from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.core.files import refusal
from dlzoo.data.transforms.batch import Normalise
from dlzoo.engine.checkpoint_file import check_checkpoint, is_state, load_intact
from dlzoo.engine.optimizer_state import check_optimizer_state
from dlzoo.layers.head import is_head_key
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import TaskSpec
from dlzoo.weights.files import read_content

State = dict[str, Tensor]


def without_weights(config: Config) -> Config:
    """Return the config without pretrained weights and init_from: the run's checkpoint already has them."""
    sections = {
        name: config[name] | {"pretrained": False} for name in ("model", "backbone") if "pretrained" in config[name]
    }
    return config | {"init_from": None} | sections


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of a run: {"state_dict", "task", ...}.

    Raises:
        UserError: if it is damaged, or not a checkpoint of a run.
    """
    try:
        content = load_intact(path)
        check_checkpoint(content)
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(refusal(error, path)) from error
        why = f" ({error})" if isinstance(error, ValueError) else ""
        raise UserError(f"{path}: damaged, or not a checkpoint of a run{why}{_remedy(path)}") from error
    return content


def check_training_state(path: Path, module: nn.Module, optimizer: Optimizer) -> None:
    """Check that a checkpoint to resume from has the weights of `module` and the state of `optimizer`, a new one.

    Raises:
        UserError: if it has not, or is damaged.
    """
    content = load_checkpoint(path)
    check_alike(content["state_dict"], module.state_dict(), str(path))
    try:
        # In fp16, steps are skipped while gradients overflow: there may have been none yet.
        steps = 0 if "loss_scale" in content["task"] else content["task"]["clock"]
        check_optimizer_state(content["optimizer_states"][0], optimizer, steps)
    except ValueError as error:
        raise UserError(f"{path}: damaged, or not a checkpoint of this run ({error}){_remedy(path)}") from error


def _remedy(path: Path) -> str:
    """Return what to do about a damaged checkpoint to resume from; nothing for another one."""
    if path.name != "last.ckpt":
        return ""
    try:
        clock = load_intact(path.with_name("best.ckpt"))["task"]["clock"]
    except Exception:  # missing, or damaged too: both are one file after an epoch that was the best
        return f"; delete {path.parent} to start the run over"
    return f"; delete it to resume from best.ckpt, of step {clock}"


def load_state(path: Path) -> State:
    """Load the state dict of a checkpoint of a run.

    Raises:
        UserError: if the file does not exist, or does not contain weights.
    """
    state = own_state(read_content(path))
    if state is None:
        raise UserError(f"{path}: contains no weights; name a checkpoint or a state dict of tensors")
    return state


def own_state(content: Any, network: nn.Module | None = None) -> State | None:
    """Return the state dict in a checkpoint of a run, or one with the names of `network`; None for that of others."""
    if not isinstance(content, Mapping):
        return None
    if "task" in content and is_state(content.get("state_dict")):
        return dict(content["state_dict"])
    known = set() if network is None else network.state_dict().keys()
    return dict(content) if is_state(content) and 2 * len(known & content.keys()) >= len(content) else None


def trained_state(state: State) -> State:
    """Return the network's weights of a state dict: the averaged ones, if it has them."""
    return child_state(state, "ema") or child_state(state, "network") or state


def child_state(state: State, name: str) -> State:
    """Return the part of a state dict that belongs to the child `name`, without the prefix."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def transfer(state: State, module: nn.Module, origin: str, new_head: bool = False) -> None:
    """Copy weights into `module`; with `new_head`, its head keeps its initial weights.

    Raises:
        UserError: if the weights belong to another model.
    """
    expected = {key: value for key, value in module.state_dict().items() if not (new_head and is_head_key(key))}
    loaded = {key: value for key, value in state.items() if not (new_head and is_head_key(key))}
    # Auxiliary classifiers are used in training only: those that only one of the networks has are ignored.
    for one, other in ((expected, loaded), (loaded, expected)):
        for key in [key for key in one if key.startswith("aux") and key not in other]:
            del one[key]
    check_alike(loaded, expected, origin)
    module.load_state_dict(loaded, strict=False)


def check_alike(loaded: State, expected: State, origin: str) -> None:
    """Check that two state dicts have the same names, shapes and kinds of numbers.

    Raises:
        UserError: if they have not.
    """
    wrong = [key for key in expected if key not in loaded or not _is_alike(loaded[key], expected[key])]
    wrong += [key for key in loaded if key not in expected]
    if wrong:
        key = wrong[0]
        sizes = [_describe(tensors[key]) if key in tensors else "absent" for tensors in (loaded, expected)]
        raise UserError(
            f"{origin}: weights of another model: {len(wrong)} tensors do not match, such as {key}"
            f" ({sizes[0]} in the file, {sizes[1]} in the model)"
        )


def _is_alike(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape, and both or neither are floating-point."""
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}{'' if tensor.is_floating_point() else f' of {tensor.dtype}'}"


def load_initial_weights(
    config: Config, network: nn.Module, normalise: nn.Module, spec: TaskSpec, classes: Sequence[str]
) -> str:
    """Load the weights that init_from names and their normalisation of images; return what was loaded.

    They are those of a run, of a file of one, or a file or folder of another program. The head is loaded too if it was
    trained for the same `classes`.

    Raises:
        UserError: if the weights belong to another model.
    """
    origin = Path(os.path.expanduser(config["init_from"]))
    run = RunDir(origin) if RunDir(origin).state_file.is_file() else None
    content = read_content(run.selected_checkpoint() if run else origin)
    whole = own_state(content, network)
    if whole is None:
        return _load_foreign(content, origin, config, network, normalise, classes)
    state, normalisation = trained_state(whole), child_state(whole, "normalise")
    where = f"init_from={origin}"
    if spec.load_backbone(state, network, where):
        loaded = f"{origin}, for the backbone"
    else:
        known = run.read().get("classes") if run else None
        shapes = {key: value.shape for key, value in network.state_dict().items() if is_head_key(key)}
        heads = [key for key in shapes if not key.startswith("aux")]  # an auxiliary head may be missing
        other_head = any(key not in state or state[key].shape != shapes[key] for key in heads)
        new_head = other_head if known is None else known != list(classes)
        spec.refit(state, network, where, new_head=new_head)
        transfer(state, network, where, new_head=new_head)
        loaded = f"{origin}, {'with a new head' if new_head else 'head included'}"
    if normalisation:
        transfer(normalisation, normalise, where)
    return loaded


def _load_foreign(
    content: Any, origin: Path, config: Config, network: nn.Module, normalise: nn.Module, classes: Sequence[str]
) -> str:
    loaded = load_foreign(content, origin, network, config, classes)
    channels = normalise.get_buffer("scale").numel()
    if loaded.normalisation is not None and len(loaded.normalisation[0]) == channels:
        normalise.load_state_dict(Normalise(*map(torch.tensor, loaded.normalisation)).state_dict())
    return "; ".join([f"{origin}: {loaded.match.lines()[0]}", *loaded.match.lines()[1:]])
