"""The state of every optimizer fits a new one, and a damaged state is one line, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from dlzoo.core.registries import OPTIMIZERS
from dlzoo.engine.optimizer_state import check_optimizer_state
from tests.optim.test_optimizers import Problem

State = dict[str, Any]


def saved(name: str, **settings: Any) -> tuple[State, Problem]:
    """The state after two steps, and a new problem."""
    before = Problem(name, **settings)
    for _ in range(2):
        before.step()
    return deepcopy(before.optimizer.state_dict()), Problem(name, **settings)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_the_state_of_every_optimizer_fits_a_new_one(name: str) -> None:
    state, new = saved(name)
    check_optimizer_state(state, new.optimizer, 2)
    check_optimizer_state(new.optimizer.state_dict(), new.optimizer, 0)
    assert all(parameter.grad is None for parameter in new.layer.parameters())
    if name == "momentum":
        check_optimizer_state(saved(name, momentum=0.0)[0], Problem(name, momentum=0.0).optimizer, 2)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_tensors_of_wrong_shapes_are_found(name: str) -> None:
    state, new = saved(name)
    for number, of_one in state["state"].items():
        for key, value in of_one.items():
            if isinstance(value, torch.Tensor):
                for wrong in (torch.zeros(7, 5), value.new_zeros(*value.shape, 2), torch.zeros(11)):
                    changed = deepcopy(state)
                    changed["state"][number][key] = wrong
                    with pytest.raises(ValueError, match=f"^{key} of parameter {number} in .* has the shape"):
                        check_optimizer_state(changed, new.optimizer, 2)


DAMAGES: dict[str, tuple[Callable[[State], object], str]] = {
    "no state": (lambda state: state["state"].clear(), "state in optimizer_states is empty"),
    "a missing name": (lambda state: state["state"][0].pop("exp_avg"), "'exp_avg' of parameter 0 in .* is missing"),
    "an odd name": (lambda state: state["state"][1].update(exp=1), "'exp' of parameter 1 in .* is unknown"),
    "no tensor": (
        lambda state: state["state"][1].update(exp_avg_sq=1.0),
        "exp_avg_sq of parameter 1 .* is not a tensor",
    ),
    "no mapping": (lambda state: state["state"].update({1: 5}), "the state of parameter 1 .* is not a mapping"),
    "an odd parameter": (lambda state: state["state"].update({9: {}}), "has the parameter 9, which is in no group"),
    "a named parameter": (lambda state: state["state"].update(x={}), "has the parameter 'x', which is in no group"),
    "a lost parameter": (lambda state: state["param_groups"][0]["params"].pop(), "have .* parameters, not"),
    "a lost group": (lambda state: state["param_groups"].pop(), "have .* parameters, not"),
    "no parameters": (lambda state: state["param_groups"][0].pop("params"), "not mappings with params"),
    "a group of another type": (lambda state: state["param_groups"].__setitem__(0, 5), "not mappings with params"),
    "a lost setting": (lambda state: state["param_groups"][0].pop("betas"), "param_groups .* have wrong settings"),
    "an odd setting": (lambda state: state["param_groups"][0].update(lr="x"), "param_groups .* have wrong settings"),
}


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_state_is_named(what: str, name: str) -> None:
    state, new = saved(name)
    change, says = DAMAGES[what]
    change(state)
    with pytest.raises(ValueError, match=says):
        check_optimizer_state(state, new.optimizer, 2)
