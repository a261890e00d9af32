"""Dilation in the place of strides: the same values at fewer places, torchvision's own, and what cannot be dilated."""

from copy import deepcopy
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter

from dlzoo.builder.model import build_model
from dlzoo.core.errors import UserError
from dlzoo.layers.pool import DilatedAvgPool, DilatedMaxPool
from dlzoo.models.backbone import Backbone
from tests.models.test_backbone import SMALL, classifier

#: HRNet has branches of several sizes, and upsamples.
FAMILIES = [name for name in SMALL if name != "hrnet_w18"]
#: Parts that have strides or windows of their own.
PARTS: list[tuple[str, dict[str, Any]]] = [
    ("resnet18", {"downsample": "pool"}),
    ("resnet18", {"shortcut": "A"}),
    ("preact_resnet18", {"conv": "separable"}),
    ("resnet18", {"conv": "asymmetric"}),
    ("resnet18", {"conv": "dilated"}),
    ("vgg11", {"pool": "conv"}),
    ("vgg11", {"pool": "avg"}),
]


def pair(network: nn.Module, strides: list[int], output_stride: int) -> tuple[Backbone, Backbone]:
    """Backbones with equal weights, without and with dilation."""
    usual = Backbone(network.eval(), in_channels=3, image_size=96)
    dilated = deepcopy(usual)
    parts = classifier("resnet18")[1]
    assert usual.select(strides, parts) == dilated.select(strides, parts, output_stride=output_stride)
    assert usual.state_dict().keys() == dilated.state_dict().keys()
    return usual.double(), dilated.double()


@torch.no_grad()
def check(network: nn.Module, output_stride: int) -> None:
    """Of each feature map every pixel that there was before has the same value."""
    strides = Backbone(deepcopy(network), in_channels=3, image_size=96).strides()
    usual, dilated = pair(network, strides, output_stride)
    images = torch.randn(1, 3, 43, 70, dtype=torch.float64)
    for stride, before, after in zip(strides, usual(images), dilated(images), strict=True):
        actual = min(stride, output_stride)
        assert after.shape[2:] == (-(-43 // actual), -(-70 // actual))
        step = stride // actual
        torch.testing.assert_close(after[:, :, ::step, ::step], before)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_pixel_that_there_was_has_the_same_value(name: str) -> None:
    torch.manual_seed(0)
    network, _ = classifier(name)
    check(network, max(1, SMALL[name][1] // 4))


@pytest.mark.parametrize(("name", "choices"), PARTS)
def test_also_with_other_parts(name: str, choices: dict[str, Any]) -> None:
    torch.manual_seed(0)
    check(build_model(name, num_classes=2, image_size=96, width=4, **choices), 8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arch", ["resnet10t", "convnext_atto", "regnetx_002"])
def test_networks_from_elsewhere(arch: str) -> None:
    torch.manual_seed(0)
    check(build_model("timm", num_classes=2, image_size=96, arch=arch), 8)


@pytest.mark.parametrize(("output_stride", "replaced"), [(8, [False, True, True]), (16, [False, False, True])])
@torch.no_grad()
def test_a_dilated_resnet_is_torchvisions(output_stride: int, replaced: list[bool]) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=replaced).eval()
    network = build_model("resnet50", num_classes=2, image_size=224)
    made = Backbone(network.eval(), in_channels=3, image_size=224)
    made.select([4, 8, 16, 32], classifier("resnet18")[1], output_stride=output_stride)
    layers = IntermediateLayerGetter(theirs, {f"layer{number}": str(number) for number in (1, 2, 3, 4)})
    values = zip(made.state_dict(), layers.state_dict().values(), strict=True)
    made.load_state_dict(dict(values))
    images = torch.randn(1, 3, 65, 65)
    for ours, expected in zip(made(images), layers(images).values(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    shapes = [[m.stride, m.dilation, m.padding] for m in made.modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [[m.stride, m.dilation, m.padding] for m in layers.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize(("kernel", "padding"), [(2, 0), (3, 1), (3, 0)])
def test_dilated_poolings_are_those_of_each_phase(kernel: int, padding: int) -> None:
    x = torch.randn(2, 3, 12, 12)
    largest = nn.MaxPool2d(kernel, 1, padding)
    assert_by_phase(largest, DilatedMaxPool(largest, (2, 3)), x)
    for counted in (True, False):
        average = nn.AvgPool2d(kernel, 1, padding, count_include_pad=counted)
        assert_by_phase(average, DilatedAvgPool(average, (2, 3)), x)


def assert_by_phase(pool: nn.Module, dilated: nn.Module, x: Tensor) -> None:
    found = dilated(x)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(found[:, :, row::2, column::3], pool(x[:, :, row::2, column::3]))


def test_what_cannot_be_dilated_is_refused() -> None:
    with torch.device("meta"):
        network, parts = classifier("hrnet_w18")
    other = Backbone(deepcopy(network), in_channels=3, image_size=96)
    made = Backbone(network, in_channels=3, image_size=96)
    with pytest.raises(UserError, match=r"beyond 8 cannot become dilations \(.*upsamples feature maps\); choose"):
        made.select([16, 32], parts, output_stride=8)
    other.select([16, 32], parts, output_stride=32)


def test_the_network_stays_as_it_is_where_no_stride_is_beyond() -> None:
    network, parts = classifier("resnet18")
    before = [module.stride for module in network.modules() if isinstance(module, nn.Conv2d)]
    made = Backbone(network, in_channels=3, image_size=96)
    made.select([8, 16], parts, output_stride=16)
    assert [module.stride for module in made.modules() if isinstance(module, nn.Conv2d)] == before[:-5]


@pytest.mark.parametrize("attention", ["cbam", "se", "non_local", "cgnl", "self_attention"])
def test_attention_sees_more_pixels(attention: str) -> None:
    with torch.device("meta"):
        network = build_model("resnet18", num_classes=2, image_size=96, width=8, attention=attention)
        made = Backbone(network, in_channels=3, image_size=96)
        made.select([16, 32], classifier("resnet18")[1], output_stride=8)
        assert [x.shape[2:] for x in made(torch.empty(2, 3, 75, 101))] == [(10, 13)] * 2
