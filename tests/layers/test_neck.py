"""Necks: sizes, who sees whom, gradients, the papers' sizes, and formulas by hand."""

from itertools import product
from math import ceil
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from dlzoo.builder.model import make_parts
from dlzoo.core.errors import UserError
from dlzoo.core.registries import BACKBONES, NECKS
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.neck import NeckSettings
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone

CHANNELS = (6, 8, 10, 12, 14)
#: What each neck lets a map see of the finer and of the coarser ones.
SEES = {"none": (), "spp": (), "fpn": ("coarser",), "pan": ("coarser", "finer"), "bifpn": ("coarser", "finer")}
SEES["asff"] = SEES["pan"]
KINDS = [
    (name, merge, spp)
    for name, merge, spp in product(NECKS.names(), ("add", "concat"), (False, True))
    if (name, spp) != ("none", True)
]


def make_kinds(**chosen: Any) -> Parts:
    """Of a network that offers every kind."""
    return make_parts(BACKBONES["hrnet_w18"], {"act": "mish", **chosen})


def make(name: str, channels: tuple[int, ...], parts: Parts | None = None, **settings: Any) -> Any:
    own = {key: settings.pop(key) for key in ("plain", "lateral", "repeats") if key in settings}
    wiring = {"channels": channels, "parts": parts or make_kinds(), "settings": NeckSettings(**settings)}
    return NECKS.build(name, wiring=wiring, **own)


def maps_of(channels: tuple[int, ...], side: int = 37, batch: int = 2) -> list[Tensor]:
    """Odd sizes, not square, which need gradients."""
    sides = [(ceil(side / 2**level), ceil((side + 6) / 2**level)) for level in range(len(channels))]
    return [torch.randn(batch, wide, *size, requires_grad=True) for wide, size in zip(channels, sides, strict=True)]


@pytest.mark.parametrize(("levels", "width"), [(1, 8), (2, None), (3, 8), (5, None)])
@pytest.mark.parametrize(("name", "merge", "spp"), KINDS)
def test_sizes_gradients_and_who_sees_whom(name: str, merge: str, spp: bool, levels: int, width: int | None) -> None:
    torch.manual_seed(0)
    channels = CHANNELS[:levels]
    neck = make(name, channels, merge=merge, spp=spp, width=width, depth=1 + levels % 2)
    maps = maps_of(channels)
    found = neck(list(maps))
    assert [x.shape[1] for x in found] == neck.out_channels
    assert [x.shape[2:] for x in found] == [x.shape[2:] for x in maps]
    if name not in ("none", "spp"):
        assert neck.out_channels == [width or wide // 2 for wide in channels]
    for target, x in enumerate(found):
        seen = torch.autograd.grad(x.square().mean(), maps, retain_graph=True, allow_unused=True)
        for source, gradient in enumerate(seen):
            side = "own" if source == target else "finer" if source < target else "coarser"
            assert (gradient is not None and bool(gradient.any())) == (side in ("own", *SEES[name])), (source, target)
    sum(x.square().mean() for x in found).backward()
    for key, parameter in neck.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.any(), key


@pytest.mark.parametrize(("name", "merge", "spp"), KINDS)
def test_parts_reach_the_neck(name: str, merge: str, spp: bool) -> None:
    parts = make_kinds(norm="gn", attention="eca", upsample="transposed")
    neck = make(name, CHANNELS[:3], parts, merge=merge, spp=spp, width=16)
    kinds = {type(module).__name__ for module in neck.modules()}
    assert not kinds & {"BatchNorm", "ReLU", "Upsample"}
    if name != "none":
        assert {"GroupNorm", "Mish"} <= kinds
    if name not in ("none", "spp"):
        assert {"ECA", "Transposed"} <= kinds


def test_none_gives_what_it_gets() -> None:
    maps = maps_of(CHANNELS)
    assert all(x is y for x, y in zip(make("none", CHANNELS)(maps), maps, strict=True))
    with pytest.raises(UserError, match="set neck=spp"):
        make("none", CHANNELS, spp=True)


def test_spp_by_hand() -> None:
    neck, maps = make("spp", CHANNELS[:3]), maps_of(CHANNELS[:3])
    *finer, coarsest = neck(maps)
    assert all(x is y for x, y in zip(finer, maps[:2], strict=True))
    pooled = [F.max_pool2d(maps[-1], size, 1, size // 2) for size in (1, 5, 9, 13)]
    torch.testing.assert_close(coarsest, neck.reduce(torch.cat(pooled, dim=1)))


def copied(neck: Any, reference: FeaturePyramidNetwork) -> None:
    """The weights of torchvision's pyramid, in ours."""
    convs = [of_level[0] for of_level in neck.convs]
    for block, other in zip((*neck.laterals, *convs), (*reference.inner_blocks, *reference.layer_blocks), strict=True):
        block.conv.load_state_dict(other[0].state_dict())


def test_plain_fpn_is_torchvisions() -> None:
    channels = CHANNELS[:4]
    neck, reference = make("fpn", channels, width=8, plain=True), FeaturePyramidNetwork(list(channels), 8)
    copied(neck, reference)
    maps = [torch.randn(2, wide, 32 >> level, 48 >> level) for level, wide in enumerate(channels)]
    expected = reference({str(level): x for level, x in enumerate(maps)})
    for x, y in zip(neck(maps), expected.values(), strict=True):
        torch.testing.assert_close(x, y)


def kernels(convs: nn.Module) -> list[tuple[int, int, int]]:
    """(kernel, channels in, channels out) of each convolution."""
    layers = [module for module in convs.modules() if isinstance(module, nn.Conv2d)]
    return [(layer.kernel_size[0], layer.in_channels, layer.out_channels) for layer in layers]


def test_depth() -> None:
    """YOLOv3's set of five at the level of 512 channels, which meet 256 enlarged ones; the paper's single 3x3."""
    settings = {"merge": "concat", "width": None}
    with torch.device("meta"):
        five = make("fpn", (256, 512, 1024), depth=5, **settings).convs[1]
        one, two = (make("fpn", (256, 512, 1024), depth=depth, **settings).convs[1] for depth in (1, 2))
    assert kernels(five) == [(1, 768, 256), (3, 256, 512), (1, 512, 256), (3, 256, 512), (1, 512, 256)]
    assert kernels(two) == [(1, 768, 256), (3, 256, 256)]
    assert kernels(one) == [(3, 768, 256)]


@pytest.mark.parametrize(
    ("backbone", "neck", "params"),
    [
        ("darknet53", {"name": "fpn"}, 61_949_149),
        ("cspdarknet53", {"name": "pan", "spp": True}, 64_363_101),
    ],
)
def test_yolo_has_the_parameters_of_its_authors(backbone: str, neck: dict[str, Any], params: int) -> None:
    """YOLOv3 and YOLOv4 with 80 classes: a 3x3 convolution of twice the width and a 1x1 to 3 * 85 at each level."""
    entry = BACKBONES[backbone]
    with torch.device("meta"):
        parts = make_parts(entry, {"head": "gap"})
        wiring = {"num_classes": 1, "in_channels": 3, "image_size": 416, "parts": parts}
        body = Backbone(entry.build(wiring=wiring), in_channels=3, image_size=416)
        channels = tuple(body.select((8, 16, 32), parts))
        mixed = make(channels=channels, parts=parts, merge="concat", width=None, depth=5, **neck)
        heads = [
            nn.Sequential(ConvNormAct(wide, 2 * wide, 3, parts), nn.Conv2d(2 * wide, 255, 1))
            for wide in mixed.out_channels
        ]
    assert sum(p.numel() for module in (body, mixed, *heads) for p in module.parameters()) == params


def test_bifpn_weighs_by_hand() -> None:
    """One layer, two levels: weights that are negative count as nothing."""
    neck, maps = make("bifpn", (6, 8), width=8, repeats=1).eval(), maps_of((6, 8))
    (layer,) = neck.layers
    down, up = layer.down[0], layer.up[0]
    with torch.no_grad():
        down.shares.copy_(torch.tensor([3.0, 1.0]))
        up.shares.copy_(torch.tensor([2.0, -1.0]))
    fine, coarse = (lateral(x) for lateral, x in zip(neck.laterals, maps, strict=True))
    enlarged = F.interpolate(coarse, scale_factor=2)[:, :, : fine.shape[2], : fine.shape[3]]
    first, second = neck(maps)
    torch.testing.assert_close(first, down.convs((3 * fine + enlarged) / 4.0001))
    torch.testing.assert_close(second, up.convs(2 * coarse / 2.0001))


def test_bifpn_repeats() -> None:
    counts = [sum(p.numel() for p in make("bifpn", CHANNELS, width=8, repeats=n).parameters()) for n in (1, 2, 3)]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


def test_asff_weighs_by_hand() -> None:
    """Scores that do not look: equal ones give the mean of all levels, a large one gives its level alone."""
    neck, maps = make("asff", CHANNELS[:3], width=8).eval(), maps_of(CHANNELS[:3])
    level, levels = neck.levels[1], neck.pyramid(maps)
    with torch.no_grad():
        for score in level.scores:
            score.weight.zero_()
            score.bias.zero_()
    height, wide = levels[1].shape[2:]
    resized = [path(x)[:, :, :height, :wide] for path, x in zip(level.paths, levels, strict=True)]
    torch.testing.assert_close(neck(maps)[1], level.convs(torch.stack(resized).mean(0)))
    with torch.no_grad():
        level.scores[1].bias.fill_(100)
    torch.testing.assert_close(neck(maps)[1], level.convs(levels[1]))
