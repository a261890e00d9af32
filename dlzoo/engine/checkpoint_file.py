"""Reading of files that torch.save wrote."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dlzoo.core.files import regular


def load_intact(path: Path) -> Any:
    """Load a file that torch.save wrote, on the CPU, after comparing the checksums in it.

    torch does not compare them: a file in which one bit was flipped would be loaded as other weights.

    Raises:
        ValueError: if a checksum is wrong.
        Exception: of any type, if torch cannot read the file.
    """
    regular(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # of a place that the file does not have
            raise ValueError("a part of the file is missing") from error
        raise


def check_checkpoint(content: Any) -> None:
    """Check that a file holds what Lightning and a run read from a checkpoint, in the types that they expect.

    Raises:
        ValueError: "state_dict is missing", "clock of task is not an integer".
    """
    _check_fields(content, _FIELDS, "")
    _check_fields(content["task"], _OF_TASK, " of task")
    for name in ("records", "checksum"):
        if not _is_count(content["task"].get(name, 0)):
            raise ValueError(f"{name} of task is not an integer >= 0")
    if not _are_kept(content["task"].get("kept", [])):
        raise ValueError("kept of task is not a list of a score and a step each")


def is_state(value: Any) -> bool:
    """Return whether a value is a state dict: tensors by name."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in value.items())
    )


def _check_fields(content: Any, fields: Mapping[str, tuple[Callable[[Any], bool], str]], where: str) -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"the content{where} has no names")
    for name, (accepts, expected) in fields.items():
        if name not in content:
            raise ValueError(f"{name}{where} is missing")
        if not accepts(content[name]):
            raise ValueError(f"{name}{where} is not {expected}")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _are_numbers(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and all(map(_is_number, value.values()))
    )


def _is_best(value: Any) -> bool:
    return value is None or (isinstance(value, (tuple, list)) and len(value) == 3 and all(map(_is_number, value)))


def _are_kept(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, (tuple, list)) and len(each) == 2 and _is_number(each[0]) and _is_count(each[1])
        for each in value
    )


def _are_windows(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(rank, list) and all(isinstance(column, torch.Tensor) and column.dim() > 0 for column in rank)
        for rank in value
    )


def _is_optimizer(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 1
        and isinstance(value[0], Mapping)
        and isinstance(value[0].get("state"), Mapping)
        and isinstance(value[0].get("param_groups"), list)
    )


_COUNT, _NUMBER = (_is_count, "an integer >= 0"), (_is_number, "a number")
_MAPPING, _LIST = (
    (lambda value: isinstance(value, Mapping), "a mapping"),
    (lambda value: isinstance(value, list), "a list"),
)
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epoch": _COUNT,
    "global_step": _COUNT,
    "pytorch-lightning_version": (lambda value: isinstance(value, str), "a text"),
    "state_dict": (is_state, "tensors by name"),
    "loops": _MAPPING,
    "callbacks": _MAPPING,
    "optimizer_states": (_is_optimizer, "the state of one optimizer"),
    "lr_schedulers": _LIST,
    "task": _MAPPING,
}
_OF_TASK: dict[str, tuple[Callable[[Any], bool], str]] = {
    "clock": _COUNT,
    "logged": _COUNT,
    "window": (_are_windows, "a list of tensors for each rank"),
    "latest": (_are_numbers, "numbers by name"),
    "best": (_is_best, "a score and two steps, or null"),
    "train_seconds": _NUMBER,
    "window_seconds": _NUMBER,
}
