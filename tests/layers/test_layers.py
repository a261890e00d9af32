"""Layers against independent references."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.builder.model import build, make_parts
from dlzoo.core.errors import UserError
from dlzoo.core.registries import ACTS, INITS, MODELS, NORMS
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.init import InitSettings, initialise
from dlzoo.layers.norm import divisor
from tests.processes import server


def normalised(x: Tensor, dims: list[int]) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (x.var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize(
    ("name", "dims"), [("bn", [0, 2, 3]), ("sync_bn", [0, 2, 3]), ("ln", [1, 2, 3]), ("in", [2, 3])]
)
def test_norms_in_training_are_what_their_papers_say(name: str, dims: list[int]) -> None:
    x = torch.randn(4, 6, 5, 5) * 3 + 2
    torch.testing.assert_close(build("norm", name)(6)(x), normalised(x, dims), rtol=1e-4, atol=1e-5)


def test_group_norm_is_layer_norm_with_one_group_and_instance_norm_with_c() -> None:
    x = torch.randn(4, 16, 5, 5)
    one, each = build("norm", "gn", num_groups=1), build("norm", "gn", num_groups=16, min_channels=1)
    torch.testing.assert_close(one(16)(x), build("norm", "ln")(16)(x))
    torch.testing.assert_close(each(16)(x), build("norm", "in")(16)(x), rtol=1e-4, atol=1e-5)
    grouped = normalised(x.view(4, 2, 8, 5, 5), [2, 3, 4]).view(x.shape)
    torch.testing.assert_close(build("norm", "gn")(16)(x), grouped, rtol=1e-4, atol=1e-5)


def test_batch_norm_uses_running_statistics_in_evaluation() -> None:
    norm, x = build("norm", "bn", momentum=0.25)(3), torch.randn(8, 3, 4, 4) + 5
    norm(x)
    values = x.transpose(0, 1).reshape(3, -1)
    torch.testing.assert_close(norm.running_mean, 0.25 * values.mean(1))
    torch.testing.assert_close(norm.running_var, 0.75 + 0.25 * values.var(1, unbiased=True))
    norm.eval()
    expected = (x - norm.running_mean.view(1, 3, 1, 1)) / (norm.running_var.view(1, 3, 1, 1) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize(
    ("channels", "groups"), [(16, 2), (64, 8), (256, 32), (12, 1), (24, 3), (512, 32), (96, 12), (7, 1), (1, 1)]
)
def test_groups_divide_and_leave_eight_channels(channels: int, groups: int) -> None:
    assert build("norm", "gn")(channels).num_groups == groups
    assert divisor(channels, 32, 8) == groups


def test_channels_per_group() -> None:
    assert build("norm", "gn", channels_per_group=16)(64).num_groups == 4
    assert build("norm", "gn", channels_per_group=16)(24).num_groups == 1


@pytest.mark.parametrize("name", [name for name in NORMS.names() if "affine" in NORMS[name].settings])
def test_affine_is_a_setting(name: str) -> None:
    assert build("norm", name)(8).weight.shape == (8,)
    bare = build("norm", name, affine=False)(8)
    assert list(bare.parameters()) == []
    with pytest.raises(UserError, match=r"norm\.affine=true"):
        bare.zero_()


def test_a_layer_keeps_its_bias_where_the_norm_does_not_make_up_for_it() -> None:
    def biased(norm: str, **settings: object) -> bool:
        parts = make_parts(MODELS["resnet20"], {"norm": build("norm", norm, **settings), "act": nn.Identity()})
        return ConvNormAct(3, 16, 3, parts).conv.bias is not None

    assert [name for name in NORMS.names() if biased(name)] == ["lrn", "none"]
    # Without their own shift, statistics over several channels leave each channel none.
    bare = {name: biased(name, affine=False) for name in ("bn", "sync_bn", "in", "gn", "ln")}
    assert bare == {"bn": False, "sync_bn": False, "in": False, "gn": True, "ln": True}


def test_no_norm_is_the_identity() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(build("norm", "none")(3)(x), x)


def _sync_worker(rank: int, path: str, x: Tensor, weight: Tensor) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    norm = build("norm", "sync_bn")(4)
    part = x.chunk(2)[rank].clone().requires_grad_()
    out = norm(part)
    (out * weight.chunk(2)[rank]).sum().backward()
    whole = build("norm", "bn")(4)
    everything = x.clone().requires_grad_()
    expected = whole(everything)
    (expected * weight).sum().backward()
    torch.testing.assert_close(out, expected.chunk(2)[rank])
    torch.testing.assert_close(part.grad, everything.grad.chunk(2)[rank], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, whole.running_mean)
    torch.testing.assert_close(norm.running_var, whole.running_var)
    dist.destroy_process_group()


def test_sync_bn_on_two_processes_is_batch_norm_over_both(tmp_path) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(8, 4, 3, 3) + 3, torch.randn(8, 4, 3, 3)
    server()  # forks of a process that has imported torch
    mp.start_processes(_sync_worker, (str(tmp_path / "store"), x, weight), nprocs=2, start_method="forkserver")


FORMULAS = {
    "relu": lambda x: x.clamp(min=0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "relu6": lambda x: x.clamp(0, 6),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "mish": lambda x: x * (1 + x.exp()).log().tanh(),
    "swish": lambda x: x / (1 + (-x).exp()),
    "hard_swish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "prelu": lambda x: torch.where(x > 0, x, 0.25 * x),
    "selu": lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
}


@pytest.mark.parametrize("name", ACTS.names())
def test_activations_are_their_formulas(name: str) -> None:
    x = torch.linspace(-8, 8, 161, dtype=torch.float64)
    torch.testing.assert_close(build("act", name).double()(x), FORMULAS[name](x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "settings", "variance"),
    [
        ("he", {}, 2 / 576),
        ("he", {"mode": "fan_out"}, 2 / 1152),
        ("he", {"distribution": "uniform", "gain": 2.0}, 8 / 576),
        ("glorot", {}, 2 / (576 + 1152)),
        ("glorot", {"distribution": "normal"}, 2 / (576 + 1152)),
        ("normal", {"gain": 3.0}, 9 / 576),
        ("uniform", {}, 1 / 576),
    ],
)
def test_initialisations_have_the_variance_of_their_papers(name: str, settings: dict, variance: float) -> None:
    torch.manual_seed(0)
    weight = torch.empty(128, 64, 3, 3)
    build("init", name, **settings)(weight)
    assert weight.var().item() == pytest.approx(variance, rel=0.03)
    assert weight.mean().item() == pytest.approx(0, abs=4 * (variance / weight.numel()) ** 0.5)


def test_orthogonal_rows() -> None:
    weight = torch.empty(8, 3, 3, 3)
    build("init", "orthogonal", gain=2.0)(weight)
    torch.testing.assert_close(weight.flatten(1) @ weight.flatten(1).T, 4 * torch.eye(8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", INITS.names())
def test_every_initialisation_fills_weights_and_leaves_norms(name: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), build("norm", "bn")(8), nn.Linear(8, 2))
    before = network[0].weight.detach().clone()
    initialise(network, build("init", name), InitSettings())
    assert torch.equal(network[1].weight, torch.ones(8))
    assert torch.equal(before, network[0].weight) == (name == "torch")
    if name != "torch":
        assert not network[2].bias.any()


def test_norms_refuse_what_they_cannot_normalise() -> None:
    with pytest.raises(UserError, match="maps of one pixel; set larger images, norm=gn"):
        build("norm", "in")(3)(torch.randn(2, 3, 1, 1))
    with pytest.raises(UserError, match=r"one value per channel.*set a larger data\.batch_size"):
        build("norm", "bn")(3)(torch.randn(1, 3, 1, 1))
    assert F.relu(build("norm", "gn")(3)(torch.randn(1, 3, 1, 1))).shape == (1, 3, 1, 1)
