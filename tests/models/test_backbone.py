"""Every family of classifiers as a backbone: stages, sizes, gradients, copies. Others: test_feature_info.py."""

from copy import deepcopy
from itertools import islice
from math import ceil
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dlzoo.builder.model import make_parts
from dlzoo.core.errors import UserError
from dlzoo.core.registries import BACKBONES, POOLS
from dlzoo.layers.ceil_mode import round_up
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.models.feature_info import FeatureInfo, HookedFeatures
from dlzoo.models.feature_maps import FeatureNetwork
from dlzoo.models.meta import ShapesOnly

#: A small form of each family, and the stride at which it ends.
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "alexnet": ({}, 32),
    "cspdarknet53": ({"width": 4}, 32),
    "darknet53": ({"width": 4}, 32),
    "densenet121": ({"growth_rate": 4}, 32),
    "densenet_bc_40_12": ({"growth_rate": 4}, 4),
    "googlenet": ({"aux": True}, 32),
    "hrnet_w18": ({"width": 4}, 32),
    "mobilenet_v1": ({"width": 0.25}, 32),
    "mobilenet_v2": ({"width": 0.25}, 32),
    "nin": ({"width": 12}, 4),
    "preact_resnet18": ({"width": 4}, 32),
    "preact_resnet20": ({"width": 4}, 4),
    "resnet18": ({"width": 8}, 32),
    "resnet20": ({"width": 4, "downsample": "pool"}, 4),
    "resnext50_32x4d": ({"width": 16}, 32),
    "resnext29_8x64d": ({"width": 8}, 4),
    "shufflenet_v1": ({"width": 0.5}, 32),
    "shufflenet_v2_x0_5": ({}, 32),
    "vgg11": ({"width": 4}, 32),
    "wrn_16_4": ({"widen": 2, "width": 4}, 4),
}
STRIDES = (8, 16, 32)
#: The classifiers that name their feature maps.
OWN = [name for name in BACKBONES.names() if name not in ("timm", "torchvision")]


def classifier(name: str, *, image_size: int = 96, **settings: Any) -> tuple[nn.Module, Parts]:
    """Smooth activations, so that no gradient is zero by chance."""
    parts = make_parts(BACKBONES[name], {"act": "mish", "head": "gap"})
    wiring = {"num_classes": 3, "in_channels": 3, "image_size": image_size, "parts": parts}
    return BACKBONES[name].build(wiring=wiring, **{**SMALL.get(name, ({}, 0))[0], **settings}), parts


def backbone(name: str, strides: tuple[int, ...] = STRIDES, **settings: Any) -> tuple[Backbone, list[int]]:
    torch.manual_seed(0)
    network, parts = classifier(name, **settings)
    made = Backbone(network, in_channels=3, image_size=settings.get("image_size", 96))
    return made, made.select(strides, parts)


def test_every_family_is_tried() -> None:
    def family(name: str) -> object:
        builder = BACKBONES[name].builder
        return getattr(builder, "func", builder)

    assert {family(name) for name in SMALL} == {family(name) for name in OWN}


@pytest.mark.parametrize("name", SMALL)
def test_stages_say_what_the_feature_maps_are(name: str) -> None:
    with torch.device("meta"):
        network, _ = classifier(name)
        assert isinstance(network, FeatureNetwork)
        round_up(network)
        with ShapesOnly():
            maps = list(network.eval().feature_maps(torch.empty(1, 3, 75, 101)))
    said = [(1, channels, ceil(75 / stride), ceil(101 / stride)) for _, stride, channels in network.feature_stages]
    assert [tuple(x.shape) for x in maps] == said
    assert all(network.get_submodule(stage.name) for stage in network.feature_stages)


@pytest.mark.parametrize("name", SMALL)
def test_stages_of_small_images_are_those_that_hooks_find(name: str) -> None:
    with torch.device("meta"):
        network, _ = classifier(name, image_size=32)
    round_up(network)
    found = FeatureInfo(network, 3, 32).feature_maps
    assert [stage[1:] for stage in network.feature_stages] == [each.stage[1:] for each in found]


@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in SMALL), ("resnet18", {"cross_layer": True})])
@torch.no_grad()
def test_feature_maps_and_what_they_need_are_those_that_hooks_find(name: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network, _ = classifier(name, **settings)
    round_up(network)
    images, hooked = torch.randn(1, 3, 43, 69), HookedFeatures(deepcopy(network.eval()), 3, 96)
    pairs = list(zip(network.feature_stages, hooked.feature_stages, strict=True))
    assert all(own[1:] == found[1:] for own, found in pairs)
    # From the last to the first: each time more goes. Copies take longer than everything else here.
    for index in sorted({0, len(pairs) // 2, len(pairs) - 1}, reverse=True):
        own, found = pairs[index]
        network.remove_after(own)
        hooked.remove_after(found)
        assert network.state_dict().keys() == hooked.network.state_dict().keys()
        maps = list(islice(network.feature_maps(images), index + 1))
        assert all(torch.equal(x, y) for x, y in zip(maps, hooked.feature_maps(images), strict=True))
        assert maps[-1].shape[1] == own.channels


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_nothing_is_computed_after_the_last_feature_map_that_is_asked_for(name: str) -> None:
    network, _ = classifier(name)
    network.eval()

    def fail(module: nn.Module, inputs: Any) -> None:
        raise AssertionError("the last block is called")

    for module in network.get_submodule(network.feature_stages[-1].name).modules():
        module.register_forward_pre_hook(fail)
    maps, images = [], torch.randn(1, 3, 96, 96)
    for _, x in zip(network.feature_stages[:-1], network.feature_maps(images), strict=False):
        maps.append(x)
    assert len(maps) == len(network.feature_stages) - 1
    with pytest.raises(AssertionError, match="the last block is called"):
        list(network.feature_maps(images))


def test_a_backbone_compiles_as_one_graph() -> None:
    network, _ = backbone("resnet18")
    images = torch.randn(1, 3, 64, 64)
    expected = network.eval()(images)
    network.compile(backend="eager", dynamic=False, fullgraph=True)
    assert all(torch.equal(x, y) for x, y in zip(expected, network(images), strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_maps_of_every_family(name: str) -> None:
    network, channels = backbone(name)
    maps = network(torch.randn(2, 3, 43, 69))
    sizes = [(ceil(43 / stride), ceil(69 / stride)) for stride in STRIDES]
    assert [tuple(x.shape) for x in maps] == [(2, wide, *size) for wide, size in zip(channels, sizes, strict=True)]
    sum(x.square().mean() for x in maps).backward()
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad, key
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "googlenet", "vgg11"])
@torch.no_grad()
def test_copies_have_maps_of_their_own(name: str) -> None:
    network, _ = backbone(name)
    images, copy = torch.randn(1, 3, 96, 96), deepcopy(network.eval())
    once = network(images)
    assert [x.shape[-1] for x in once] == [12, 6, 3]
    other, _ = backbone(name)
    for parameter in other.parameters():
        parameter.zero_()
    other.eval().load_state_dict(network.state_dict())
    assert all(torch.equal(x, y) for x, y in zip(once, other(images), strict=True))
    for parameter in network.parameters():
        parameter.zero_()
    assert all(torch.equal(x, y) for x, y in zip(once, copy(images), strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(once, network(images), strict=True))


@pytest.mark.parametrize("name", [name for name in SMALL if name != "alexnet"])
def test_the_last_map_is_what_the_classifier_looks_at(name: str) -> None:
    """AlexNet's first convolution leaves pixels over, which its backbone does not."""
    torch.manual_seed(0)
    network, parts = classifier(name)
    network.eval()
    pool, head, images = network.pool, network.head, torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        logits = network(images)
        made = Backbone(network, in_channels=3, image_size=96)
        made.select((SMALL[name][1],), parts)
        (last,) = made(images)
        torch.testing.assert_close(head(pool(last)), logits)


def test_on_the_meta_device_and_beside_torchvision() -> None:
    with torch.device("meta"):
        made, channels = backbone("resnet50", (4, 8, 16, 32, 64, 128), image_size=300)
    assert channels == [256, 512, 1024, 2048, 512, 512]
    assert all(parameter.is_meta for parameter in made.parameters())
    assert sum(p.numel() for p in made.network.parameters()) == 23_508_032  # torchvision's without its head
    counter = FlopCounterMode(display=False)
    with counter:
        maps = made(torch.empty(1, 3, 300, 300, device="meta"))
    assert [x.shape[-1] for x in maps] == [75, 38, 19, 10, 5, 3]
    assert counter.get_total_flops() > 0


def test_selecting_changes_no_weight() -> None:
    network, parts = classifier("resnet18")
    made = Backbone(network, in_channels=3, image_size=96)
    before = deepcopy(network.state_dict())
    made.select((8, 16), parts)
    after = made.network.state_dict()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    assert made.training
    assert all(module.training for module in made.modules())


def test_what_is_not_needed_goes() -> None:
    made, channels = backbone("resnet18", (8,))
    assert channels == [16]
    assert not any(
        key.startswith(("network.stages.2", "network.stages.3", "network.head")) for key in made.state_dict()
    )
    plain, auxiliary = (backbone("googlenet", aux=aux)[0].state_dict() for aux in (False, True))
    assert plain.keys() == auxiliary.keys()
    made, _ = backbone("mobilenet_v2", drop_rate=0.9)
    assert not any(isinstance(module, nn.Dropout) for module in made.modules())


def test_what_cannot_go_does_not_learn() -> None:
    """HRNet's branches run side by side: the coarsest is there, but what it does last reaches no map."""
    made, _ = backbone("hrnet_w18", (4, 8))
    sum(x.square().mean() for x in made(torch.randn(2, 3, 32, 32))).backward()
    assert any(not parameter.requires_grad for parameter in made.parameters())
    for key, parameter in made.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), key
    with torch.no_grad():
        images, copy = torch.randn(1, 3, 32, 32), deepcopy(made.eval())
        for parameter in made.parameters():
            parameter.zero_()
        assert not any(torch.equal(x, y) for x, y in zip(made(images), copy(images), strict=True))


def test_maps_between_blocks() -> None:
    """VGG: before the poolings. HRNet: what a convolution is given. Cross-layer attention: what it gives."""
    images = torch.randn(1, 3, 96, 96)
    network, parts = classifier("vgg11")
    x, expected = images, {}
    for layer in network.layers:
        x = layer(x)
        expected[96 // x.shape[-1]] = x
    made = Backbone(network, in_channels=3, image_size=96)
    made.select(STRIDES, parts)
    assert all(torch.equal(expected[stride], x) for stride, x in zip(STRIDES, made(images), strict=True))

    made, _ = backbone("hrnet_w18", (4, 8, 16, 32))
    given: list[Tensor] = []
    for block in (*made.network.down, made.network.last):
        block.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    *finer, _ = made.eval()(images)
    assert [x.shape[-1] for x in given] == [24, 12, 6, 3]
    assert all(torch.equal(x, y) for x, y in zip(finer, given, strict=False))

    network, parts = classifier("resnet18", cross_layer=True)
    nn.init.ones_(network.cross_layer.out.weight)
    shallow = network.eval().stages[:3](network.stem(images))
    expected = network.cross_layer(shallow, network.stages[3](shallow))
    made = Backbone(network, in_channels=3, image_size=96)
    made.select((16, 32), parts)
    assert torch.equal(made(images)[0], expected)
    assert not torch.equal(shallow, expected)


def test_a_stride_in_between_is_refused() -> None:
    with pytest.raises(UserError, match=r"no feature maps at stride 12, but at 2, 4, 8, 16, 32"):
        backbone("resnet18", (8, 12))
    with pytest.raises(UserError, match=r"no feature maps at stride 48, but at 2, 4, 8, 16, 32, 64"):
        backbone("resnet18", (32, 48))


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 64, 8)), "cannot work on images of 17 px"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 17**2, 4)), "has no feature maps"),
        (nn.Sequential(nn.ZeroPad2d(-1)), "has no feature maps"),
    ],
)
def test_a_network_without_maps_is_refused(network: nn.Module, why: str) -> None:
    with pytest.raises(UserError, match=f"the backbone {why}"):
        Backbone(network, in_channels=3, image_size=16).select((8,), classifier("resnet18")[1])


@pytest.mark.parametrize("pool", ["max", "avg", "conv"])
@pytest.mark.parametrize(
    ("kernel_size", "padding", "ceil_mode"), [(2, 0, False), (2, 0, True), (3, 0, False), (3, 0, True), (3, 1, False)]
)
def test_poolings_round_up(pool: str, kernel_size: int, padding: int, ceil_mode: bool) -> None:
    _, parts = classifier("resnet18")
    window = {"kernel_size": kernel_size, "stride": 2, "padding": padding, "ceil_mode": ceil_mode}
    module = POOLS.build(pool, wiring={"channels": 2, "parts": parts, **window}).eval()
    usual = deepcopy(module)
    round_up(module)
    for side in range(4, 12):
        images = torch.randn(1, 2, side, side + 1)
        found, expected = module(images), usual(images)
        assert found.shape[2:] == (ceil(side / 2), ceil((side + 1) / 2))
        if pool != "conv" or not ceil_mode:  # a convolution sees zeros there, and now the last pixel again
            inside = [min(a, b) for a, b in zip(found.shape[2:], expected.shape[2:], strict=True)]
            whole = [(size + 2 * padding - kernel_size) // 2 + 1 for size in (side, side + 1)]
            height, width = (min(a, b) for a, b in zip(inside, whole, strict=True))
            torch.testing.assert_close(found[:, :, :height, :width], expected[:, :, :height, :width])


def test_the_largest_value_is_that_of_ceil_mode() -> None:
    module = nn.MaxPool2d(2)
    round_up(module)
    images = torch.randn(2, 3, 75, 7)
    assert torch.equal(module(images), F.max_pool2d(images, 2, ceil_mode=True))
