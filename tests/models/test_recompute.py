"""Activation checkpointing: the same results from less memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dlzoo.builder.model import make_parts
from dlzoo.core.protocols import Stepwise
from dlzoo.core.registries import BACKBONES, DROPS, NORMS
from dlzoo.layers.norm import BatchNorm
from dlzoo.models.recompute import families_with_stages, recompute_stages, stage_blocks
from tests.models.test_backbone import SMALL


def classifier(name: str, norm: str = "bn", drop: str = "dropout", **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    chosen = {kind: part for kind, part in {"norm": norm, "drop": drop}.items() if getattr(BACKBONES[name].marks, kind)}
    wiring = {"num_classes": 3, "in_channels": 3, "image_size": 64, "parts": make_parts(BACKBONES[name], chosen)}
    return BACKBONES[name].build(wiring=wiring, **{**SMALL[name][0], **settings}).train()


@contextmanager
def count_kept(network: nn.Module) -> Iterator[list[int]]:
    """Collect the bytes of the tensors that are kept for the backward pass, each storage once, without the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.state_dict().values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    total: list[int] = []
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield total
    total.append(sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights))


def gradients_and_state(network: nn.Module, *, half: bool = False, batches: int = 2) -> tuple[dict[str, Tensor], int]:
    """Train for the micro-batches of a step; return what they leave, and the bytes kept for the backward pass."""
    images, kept, losses = torch.rand(batches, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5, 0, []
    for module in network.modules():
        if isinstance(module, Stepwise):
            module.begin_step()
    torch.manual_seed(0)
    for batch in images:
        with torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False), count_kept(network) as size:
            out = network(batch)
            outs = [out] if isinstance(out, Tensor) else [out.logits, *out.auxiliary]
            losses.append(torch.stack([each.float().square().mean() for each in outs]).sum())
        losses[-1].backward()
        kept += size[0]
    state = dict(network.state_dict()) | {"losses": torch.stack(losses).detach(), "random": torch.rand(1)}
    return state | {f"d {key}": p.grad for key, p in network.named_parameters() if p.grad is not None}, kept


def assert_learns_the_same_and_keeps_less(network: nn.Module, **options: Any) -> None:
    unchanged = [list(vars(module)) for module in network.modules()]
    with recompute_stages(network):
        found, kept = gradients_and_state(deepcopy(network), **options)
    assert [list(vars(module)) for module in network.modules()] == unchanged
    expected, whole = gradients_and_state(network, **options)
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []
    assert kept < 0.6 * whole


@pytest.mark.parametrize("name", SMALL)
def test_every_family_learns_the_same_and_keeps_less(name: str) -> None:
    assert_learns_the_same_and_keeps_less(classifier(name), batches=1)


def test_families_are_named() -> None:
    assert {"resnet", "preact_resnet", "densenet", "vgg", "mobilenet"} <= set(families_with_stages())
    assert "third_party" not in families_with_stages()


@pytest.mark.parametrize("norm", NORMS.names())
def test_every_norm_tracks_each_batch_once(norm: str) -> None:
    """A norm of which the output depends on its buffers or on earlier micro-batches, as cmbn's, sees them unchanged."""
    assert_learns_the_same_and_keeps_less(classifier("resnet20", norm=norm))


@pytest.mark.parametrize("drop", DROPS.names())
def test_every_drop_draws_the_same(drop: str) -> None:
    assert_learns_the_same_and_keeps_less(classifier("resnet20", norm="gn", drop=drop))


def test_half_precision_and_cross_layer_attention_are_recomputed_too() -> None:
    assert_learns_the_same_and_keeps_less(classifier("resnet18", cross_layer=True), half=True)


def test_a_norm_whose_output_depends_on_its_running_statistics_repeats_itself() -> None:
    class Running(nn.Module):
        """Divide by the running mean of the squares, of which the current batch is a part."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("squares", torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.squares.lerp_(x.square().mean(), 0.5)  # type: ignore[operator]
            return x / self.squares.sqrt()  # type: ignore[operator]

    network = classifier("resnet20")
    for path, module in list(network.named_modules()):
        if isinstance(module, BatchNorm):
            network.set_submodule(path, Running())
    assert any(isinstance(module, Running) for module in network.modules())
    assert_learns_the_same_and_keeps_less(network)


def test_without_gradients_nothing_is_kept_and_the_state_has_the_same_keys() -> None:
    network = classifier("resnet20").eval()
    images, keys = torch.rand(2, 3, 64, 64), list(network.state_dict())
    with torch.no_grad():
        expected = network(images)
        with recompute_stages(network), count_kept(network) as kept:
            assert torch.equal(network(images), expected)
            assert list(network.state_dict()) == keys
    assert kept == [0]
    assert list(stage_blocks(nn.Linear(3, 3))) == []
