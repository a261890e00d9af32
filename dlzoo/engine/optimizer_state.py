"""Check of a saved optimizer state before it is loaded: torch checks neither its shapes nor its names."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: (number of a parameter group, dimensions of a parameter) -> its state, for a parameter with sides of 1.
_Expected = dict[tuple[int, int], dict[str, Any]]


def check_optimizer_state(saved: Mapping[str, Any], optimizer: Optimizer, steps: int) -> None:
    """Check that a state dict fits an optimizer: its groups, and the names and shapes of the state of each parameter.

    Args:
        saved: {"state": ..., "param_groups": ...}, as the optimizer's `state_dict` returns it.
        optimizer: a new optimizer for the same parameters.
        steps: the number of steps that it has surely made; after one, there is a state if it has any.

    Raises:
        ValueError: "exp_avg of parameter 3 in optimizer_states has the shape (4,), not (16,)".
    """
    groups, states = saved["param_groups"], saved["state"]
    _check_groups(groups, optimizer)
    expected = _try_step(optimizer, optimizer.param_groups)
    if expected and not _try_step(optimizer, groups):
        raise ValueError("param_groups of optimizer_states have wrong settings")
    numbered = list(_numbered(groups, optimizer))
    if unknown := [number for number in states if number not in {number for number, _, _ in numbered}]:
        raise ValueError(f"state in optimizer_states has the parameter {unknown[0]!r}, which is in no group")
    if steps and not states and any((expected or {}).values()):
        raise ValueError("state in optimizer_states is empty")
    total = sum(parameter.numel() for _, _, parameter in numbered)
    for number, group, parameter in numbered:
        if number in states:
            known = None if expected is None else expected[group, parameter.dim()]
            _check_state(number, states[number], parameter, known, total)


def _check_groups(groups: Sequence[Any], optimizer: Optimizer) -> None:
    if not all(isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups):
        raise ValueError("param_groups of optimizer_states are not mappings with params")
    sizes, wanted = ([len(group["params"]) for group in each] for each in (groups, optimizer.param_groups))
    if sizes != wanted:
        raise ValueError(f"param_groups of optimizer_states have {sizes} parameters, not {wanted}")


def _numbered(groups: Sequence[Any], optimizer: Optimizer) -> Iterator[tuple[Any, int, Tensor]]:
    """Yield the number of each parameter in a state dict, that of its group, and the parameter."""
    for place, (group, own) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
        for number, parameter in zip(group["params"], own["params"], strict=True):
            yield number, place, parameter


def _try_step(optimizer: Optimizer, groups: Sequence[Mapping[str, Any]]) -> _Expected | None:
    """Return the state after a step of small parameters with the settings of `groups`; None if there can be none.

    Some optimizers do not step parameters other than their own.
    """
    small = [
        {dim: torch.zeros((1,) * dim, requires_grad=True) for dim in {p.dim() for p in own["params"]}}
        for own in optimizer.param_groups
    ]
    for parameter in (each for some in small for each in some.values()):
        parameter.grad = torch.zeros_like(parameter)
    trial = copy.copy(optimizer)
    made = [{**group, "params": list(some.values())} for group, some in zip(groups, small, strict=True)]
    try:
        trial.__setstate__({"state": defaultdict(dict), "param_groups": made})
        trial.step(lambda: torch.zeros(()))  # pyright: ignore
    except Exception:  # of any type, for settings of a wrong type
        return None
    return {(place, dim): dict(trial.state[each]) for place, some in enumerate(small) for dim, each in some.items()}


def _check_state(number: Any, state: Any, parameter: Tensor, known: Mapping[str, Any] | None, total: int) -> None:
    """Check the state of a parameter; `known` is that of a small one, `total` the values of all parameters."""
    if not isinstance(state, Mapping):
        raise ValueError(f"the state of parameter {number} in optimizer_states is not a mapping")
    if known is not None and known.keys() != state.keys():
        name = min(known.keys() ^ state.keys(), key=str)
        problem = "missing" if name in known else "unknown"
        raise ValueError(f"{name!r} of parameter {number} in optimizer_states is {problem}")
    for name, value in state.items():
        where = f"{name} of parameter {number} in optimizer_states"
        like = None if known is None else known[name]
        if like is not None and isinstance(like, Tensor) != isinstance(value, Tensor):
            raise ValueError(f"{where} is {'not a' if isinstance(like, Tensor) else 'a'} tensor")
        if isinstance(value, Tensor):
            # A state of all parameters, such as that of L-BFGS, is one vector, kept with the first of them.
            shapes = {(), tuple(parameter.shape), (total,)}
            if isinstance(like, Tensor) and like.shape in ((), (1,) * parameter.dim()):
                shapes = {() if like.dim() == 0 else tuple(parameter.shape)}
            if tuple(value.shape) not in shapes:
                raise ValueError(f"{where} has the shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
