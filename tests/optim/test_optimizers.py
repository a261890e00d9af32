"""Parameter groups, and what every optimizer has to do."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlzoo.builder.model import build, build_model
from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.optim.settings import OptimizerSettings, units

FIRST_ORDER = [name for name in OPTIMIZERS.names() if OPTIMIZERS[name].marks.clips]


def test_the_rate_can_follow_the_batch() -> None:
    assert OptimizerSettings().effective_lr(0.1, 32) == 0.1
    assert OptimizerSettings(lr_reference_batch=256).effective_lr(0.1, 32) == 0.0125


def test_weight_decay_can_leave_norms_and_biases_out() -> None:
    network = build_model("resnet20", num_classes=10)
    (everything,) = OptimizerSettings().groups(network, 0.1)
    assert len(everything["params"]) == len(list(network.parameters()))
    decayed, spared = OptimizerSettings(decay="weights").groups(network, 0.1)
    optimizer = build("optimizer", "sgd", weight_decay=0.1)([decayed, spared])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    norms = [module for module in network.modules() if type(module).__name__ == "BatchNorm"]
    assert len(spared["params"]) == 2 * len(norms) + 1  # the head's bias
    network.stages.requires_grad_(False)
    (trained,) = OptimizerSettings().groups(network, 0.1)
    assert len(trained["params"]) == 5  # the stem's weight, scale and shift; the head's weight and bias


class WithToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.body = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Sequential(nn.Linear(2, 3), nn.Bilinear(2, 2, 1)))
        self.head = nn.Linear(3, 1)


def test_layers_before_the_last_can_learn_more_slowly() -> None:
    network = WithToken()
    first, second, third, head = units(network)
    assert (second, head) == (network.body[2][0], network.head)
    groups = OptimizerSettings(layer_decay=0.5).groups(network, 0.8)
    assert [group["lr"] for group in groups] == pytest.approx([0.8, 0.4, 0.2, 0.1])
    expected = [head, third, second, first]
    for group, layer in zip(groups, expected, strict=True):
        assert {id(p) for p in layer.parameters()} <= {id(p) for p in group["params"]}
    assert network.token is groups[-1]["params"][0]  # what belongs to no layer learns like the first
    split = OptimizerSettings(layer_decay=0.5, decay="weights").groups(network, 0.8)
    assert [(g["lr"], g.get("weight_decay")) for g in split[:4]] == [(0.8, None), (0.8, 0.0), (0.4, None), (0.4, 0.0)]
    assert sum(len(group["params"]) for group in split) == len(list(network.parameters()))
    first.requires_grad_(False)
    assert units(network) == [second, third, head]
    resnet = build_model("resnet20", num_classes=10)
    assert len(units(resnet)) == 1 + 9 + 1  # stem, blocks, head


def test_layer_decay_is_a_rate_of_its_own_for_each_layer() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).double()
    before = [layer.weight.detach().clone() for layer in network]
    optimizer = build("optimizer", "sgd", lr=0.4, weight_decay=0.0)(
        OptimizerSettings(layer_decay=0.25).groups(network, 0.4)
    )
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for layer, old, rate in zip(network, before, (0.1, 0.4), strict=True):
        torch.testing.assert_close(layer.weight, old - rate)


#: Where the default is too small for 300 steps, or the paper's rate is for a loss of another kind.
RATES = {"adagrad": 0.5, "adadelta": 3.0, "rmsprop": 0.05, "adam": 0.05, "adamw": 0.05, "nadam": 0.05, "radam": 0.05}
RATES |= {"lion": 0.02, "muon": 0.05}


class Problem:
    """Least squares with a matrix, a kernel and biases; `step` is what the task does."""

    def __init__(self, name: str, decoupled: bool | None = None, l1: float = 0.0, **settings: object) -> None:
        generator = torch.Generator().manual_seed(0)
        self.layer, self.x = nn.Linear(4, 3), torch.randn(64, 4, generator=generator)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.y = self.x @ torch.randn(4, 3, generator=generator) + 1
        self.name = name
        self.optimizer = build("optimizer", name, **settings)(list(self.layer.parameters()))
        self.regulariser = OptimizerSettings(decoupled=decoupled, l1=l1).regulariser(name)
        if self.regulariser:
            self.regulariser.claim(self.optimizer)

    def loss(self) -> Tensor:
        return (self.layer(self.x) - self.y).square().mean()

    def closure(self, create_graph: bool = False) -> Tensor:
        if create_graph:
            return self.loss()
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        if self.regulariser:
            self.regulariser.before_step()
        return loss.detach()

    def step(self) -> float:
        if OPTIMIZERS[self.name].marks.uses_closure:
            self.optimizer.step(self.closure)
        else:
            self.closure()
            self.optimizer.step()
        if self.regulariser:
            self.regulariser.after_step()
        return self.loss().item()

    @property
    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.layer.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_descends(name: str) -> None:
    problem = Problem(name, weight_decay=0.0, **({"lr": RATES[name]} if name in RATES else {}))
    first = problem.loss().item()
    assert [problem.step() for _ in range(300)][-1] < 0.01 * first


@pytest.mark.parametrize(
    ("name", "extra"),
    [(name, {}) for name in OPTIMIZERS.names()]
    + [(name, {"decoupled": decoupled, "l1": 0.01}) for name in FIRST_ORDER for decoupled in (True, False)],
)
def test_every_optimizer_goes_on_where_it_stopped(name: str, extra: dict[str, Any]) -> None:
    # A single iteration a step, or L-BFGS is at the optimum, and done, before it is interrupted.
    settings = {"weight_decay": 0.1} | ({"iterations": 1, "history": 2} if name == "lbfgs" else {})
    whole = Problem(name, **extra, **settings)
    for _ in range(3):
        whole.step()
    torch.save({"optimizer": whole.optimizer.state_dict(), "layer": whole.layer.state_dict()}, file := io.BytesIO())
    file.seek(0)
    saved, resumed = torch.load(file, weights_only=True), Problem(name, **extra, **settings)
    resumed.layer.load_state_dict(saved["layer"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    for _ in range(2):
        assert whole.step() == resumed.step()
    for ours, theirs in zip(whole.weights, resumed.weights, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_says_its_formula(name: str) -> None:
    assert "=" in OPTIMIZERS[name].doc.splitlines()[0]
    assert {"lr", "weight_decay"} <= set(OPTIMIZERS[name].settings)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.names() if name not in FIRST_ORDER])
def test_what_works_beside_a_step_is_refused_where_a_step_is_the_whole_of_it(name: str) -> None:
    assert OptimizerSettings().regulariser(name) is None
    for settings in (OptimizerSettings(l1=0.1), OptimizerSettings(decoupled=False)):
        with pytest.raises(UserError, match=rf"optimizer={name} minimises .* leave optimizer\.(l1|decoupled) out"):
            settings.regulariser(name)
