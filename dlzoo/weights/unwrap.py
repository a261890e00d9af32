"""Find the state dict inside of a checkpoint, and take the prefixes from its names that a wrapper put there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dlzoo.core.errors import UserError

#: Where checkpoints have the weights; averaged ones first, as they are the ones that were evaluated.
CONTAINERS = (
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema", "state_dict", "model_state_dict"),
    *("model_state", "model", "module", "net", "network", "weights", "params"),
)
#: Prefixes of wrappers: parallel and compiled modules, averaged copies, and the attribute that holds a network.
PREFIXES = ("module.", "_orig_mod.", "ema.", "model.", "network.", "net.", "body.", "backbone.", "encoder.")
#: What averaged copies and detectors have beside the weights.
_BESIDE = ("n_averaged",)

State = dict[str, Tensor]


def find_state(content: Any, path: Path) -> State:
    """Return the tensors by name in the content of a file.

    Raises:
        UserError: if it contains none, or quantised ones.
    """
    state = _state(content)
    if state is None:
        raise UserError(f"{path}: contains no weights; name a checkpoint or a state dict of tensors")
    packed = next((key for key, value in state.items() if value.is_quantized), None)
    packed = packed or next((key for key in state if "_packed_params" in key), None)
    if packed is not None:
        raise UserError(f"{path}: a quantised state dict ({packed}); name a file of the floating-point weights")
    return without_prefixes(state)


def _state(content: Any) -> State | None:
    """Return the content as tensors by name, or the first container in it that is one."""
    if not isinstance(content, Mapping):
        return None
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors and 2 * len(tensors) >= len(content):
        return tensors
    found = (_state(content[name]) for name in CONTAINERS if isinstance(content.get(name), Mapping))
    return next((state for state in found if state is not None), None)


def without_prefixes(state: State) -> State:
    """Return the state dict without the prefixes of PREFIXES that all of its names have."""
    state = {key: value for key, value in state.items() if key not in _BESIDE}
    while state:
        prefix = next((each for each in PREFIXES if all(key.startswith(each) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
