"""Every segmentation network of the registry: sizes, gradients, parts, backbones; counts of the paper; windows."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlzoo.builder.model import build_loss, build_model
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS, UPSAMPLES
from dlzoo.layers.attention import ECA
from dlzoo.layers.drop import SpatialDropout
from dlzoo.layers.head import WithAuxiliary
from dlzoo.layers.norm import GroupNorm
from dlzoo.layers.upsample import Transposed
from dlzoo.show.model import profile
from dlzoo.show.model_table import summary
from dlzoo.tasks.segmentation.losses import MaskLoss
from dlzoo.tasks.segmentation.models.fcn import FCN
from dlzoo.tasks.segmentation.models.segmenter import BackboneSegmenter, Segmenter, segment
from dlzoo.tasks.segmentation.spec import SegmentationSpec
from dlzoo.tasks.segmentation.windows import segment_windows

NAMES = [name for name in MODELS.names() if MODELS[name].marks.tasks == ("segment",)]
RESNET = {"name": "resnet50", "stem": "imagenet", "width": 4}
#: A small form of each network.
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 2, "depth": 2},
    "unet_tiny": {"width": 2},
    **{f"fcn{stride}": {"width": 8, "backbone": {"name": "vgg11", "width": 4}} for stride in (32, 16, 8)},
    "fcn": {"backbone": RESNET},
    "deeplabv3": {"backbone": RESNET, "width": 8},
}
#: Backbones with other strides, stems and blocks.
BACKBONES: list[dict[str, Any]] = [
    {"name": "resnet18", "width": 4},
    {"name": "resnet20", "width": 4},
    {"name": "vgg11", "width": 4},
    {"name": "densenet121", "growth_rate": 4},
    {"name": "mobilenet_v2", "width": 0.25},
    {"name": "shufflenet_v2_x0_5"},
    {"name": "darknet53", "width": 2},
    {"name": "timm", "arch": "resnet10t"},
]


def small(name: str, **choices: Any) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_classes": 3, "image_size": 96} | SMALL[name] | choices
    return build_model(name, **settings)


def step(network: nn.Module, height: int = 41, width: int = 57) -> set[str]:
    """The parameters that a step of training does not reach."""
    images, masks = torch.randn(2, 3, height, width), torch.randint(0, 3, (2, height, width), dtype=torch.uint8)
    output = segment(network, images)
    logits, auxiliary, weight = output if isinstance(output, WithAuxiliary) else (output, (), 0.0)
    assert {tuple(each.shape) for each in (logits, *auxiliary)} == {(2, 3, height, width)}
    loss = MaskLoss(build_loss("cross_entropy"))
    (loss(logits, masks) + sum(weight * loss(each, masks) for each in auxiliary)).backward()
    parameters = {key: p for key, p in network.named_parameters() if p.requires_grad}
    gradients = {key: p.grad for key, p in parameters.items() if p.grad is not None}
    assert gradients.keys() == parameters.keys()
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    return {key for key, gradient in gradients.items() if not gradient.any()}


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    output = segment(network, images)
    assert isinstance(output, Tensor)
    return output


def test_a_small_form_of_every_network_is_tried() -> None:
    assert set(NAMES) == set(SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_reaches_every_parameter(name: str) -> None:
    assert not step(small(name, act="swish"))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logits_have_the_size_of_the_image(name: str) -> None:
    network = small(name).eval()
    for height, width in ((96, 96), (33, 70), (17, 40)):
        assert network(torch.randn(1, 3, height, width)).shape == (1, 3, height, width)


def is_dilated(conv: nn.Conv2d) -> bool:
    """Whether a rate of 3 is in its dilation: ASPP has even ones, and strides multiply by 2 and 4."""
    return conv.dilation[0] % 3 == 0 and conv.dilation[0] < 12


#: Of each kind of part one that no network has, and how its layers are recognised.
PARTS = {
    "norm": ("gn", lambda module: isinstance(module, GroupNorm)),
    "act": ("swish", lambda module: isinstance(module, nn.SiLU)),
    "conv": ({"name": "dilated", "rates": [3]}, lambda module: isinstance(module, nn.Conv2d) and is_dilated(module)),
    "attention": ("eca", lambda module: isinstance(module, ECA)),
    "drop": ("spatial", lambda module: isinstance(module, SpatialDropout)),
    "upsample": ("nearest", lambda module: isinstance(module, nn.Upsample) and module.mode == "nearest"),
}


@pytest.mark.parametrize("name", NAMES)
def test_parts_reach_encoder_decoder_and_head(name: str) -> None:
    choices = {kind: part for kind, (part, _) in PARTS.items()}
    usual, changed = small(name), small(name, **choices)
    everywhere = {"decoder", "backbone" if isinstance(usual, BackboneSegmenter) else "encoder"}
    for kind, (_, is_part) in PARTS.items():
        found = {path.partition(".")[0] for path, module in changed.named_modules() if is_part(module)}
        expected = everywhere if kind != "upsample" else {"head" if isinstance(usual, FCN) else "decoder"}
        assert found >= expected, kind
        assert not any(is_part(module) for module in usual.modules()), kind
    assert not any(isinstance(module, nn.ReLU | nn.BatchNorm2d) for module in changed.modules())
    step(changed, 64, 64)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone["name"])
@pytest.mark.parametrize("name", ["unet", "fcn"])
def test_backbones(name: str, backbone: dict[str, Any]) -> None:
    network = small(name, backbone=backbone)
    for parameter in network.parameters():  # timm's residual branches begin as zero
        if not parameter.any():
            nn.init.uniform_(parameter, -0.5, 0.5)
    assert not step(network)
    assert network.stride == {"unet": 32, "fcn": 8}[name] or backbone["name"] == "resnet20"


@pytest.mark.parametrize("name", ["unet", "unet_tiny", "fcn8", "fcn", "deeplabv3"])
@pytest.mark.parametrize("upsample", UPSAMPLES.names())
def test_every_upsampling_trains(name: str, upsample: str) -> None:
    network = small(name, upsample=upsample, act="swish")
    assert not step(network)
    is_used = Transposed if upsample == "transposed" else nn.Upsample
    assert any(isinstance(module, is_used) for module in network.modules())


@pytest.mark.parametrize("backbone", ["default", {"name": "resnet20", "width": 4}])
@pytest.mark.parametrize("merge", ["concat", "add"])
@pytest.mark.parametrize("name", ["unet", "unet_tiny"])
def test_every_merge_trains(name: str, merge: str, backbone: Any) -> None:
    if name == "unet_tiny" and backbone != "default":
        with pytest.raises(UserError, match="does not support backbone"):
            small(name, backbone=backbone)
        return
    assert not step(small(name, merge=merge, backbone=backbone, act="swish"))


@pytest.mark.parametrize(
    ("settings", "params"),
    [
        ({"in_channels": 1, "num_classes": 2}, 31_030_658),
        ({"in_channels": 1, "num_classes": 2, "padding": "valid"}, 31_030_658),
        # With the biases of the up-convolutions, and none beside a norm.
        ({"in_channels": 3, "num_classes": 1, "norm": "bn"}, 31_037_633),
    ],
)
def test_unet_has_the_parameters_of_the_paper(settings: dict[str, Any], params: int) -> None:
    with torch.device("meta"):
        network = build_model("unet", **settings)
    assert sum(p.numel() for p in network.parameters()) == params


def test_valid_convolutions_have_the_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        network: Any = build_model("unet", num_classes=2, in_channels=1, width=1, padding="valid")
    assert network(torch.empty(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)
    for side, left in network.sizes():
        assert network.padded(side) == side
        assert network(torch.empty(1, 1, side, side, device="meta")).shape == (1, 2, left, left)
        assert logits_of(network, torch.empty(1, 1, left, left, device="meta")).shape == (1, 2, left, left)
    assert network.sizes()[0] == (188, 4)
    assert (572, 388) in network.sizes()


@torch.no_grad()
def test_valid_convolutions_take_images_of_any_side() -> None:
    for depth in (1, 2, 3):
        network = small("unet", width=1, depth=depth, padding="valid")
        for side in range(1, 30):
            assert logits_of(network, torch.randn(1, 3, side, 2 * side)).shape == (1, 3, side, 2 * side)


def test_show_has_the_table_of_sizes() -> None:
    lines = list(summary(profile("unet", ["model.padding=valid", "model.width=1"])))
    (line,) = (line for line in lines if line.startswith("valid convolutions"))
    assert "188 -> 4, " in line
    assert "572 -> 388, " in line
    assert not any("valid" in line for line in summary(profile("unet", ["model.width=1", "image_size=32"])))


@pytest.mark.parametrize(
    ("depth", "padding", "merge"), [(1, "same", "concat"), (2, "same", "add"), (1, "valid", "add")]
)
@torch.no_grad()
def test_windows_equal_the_whole_image(depth: int, padding: str, merge: str) -> None:
    network = small("unet", depth=depth, padding=padding, merge=merge).eval()
    images = torch.randn(1, 3, 131, 90)
    # The receptive field: 215 px at a depth of 4.
    field = 4 * network.stride + 8 * (network.stride - 1) + 2 * network.stride - 1

    compute = partial(logits_of, network)

    whole = compute(images)
    found = segment_windows(compute, images, field + 30, field, network.stride)
    assert field + 30 < 131
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)
    narrow = segment_windows(compute, images, field + 30, 0, network.stride)
    assert not torch.allclose(narrow, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("unet", {"padding": "valid", "backbone": "resnet18"}, "is for the encoder of U-Net itself"),
        ("fcn", {"backbone": "hrnet_w18"}, "beyond 8 cannot become dilations"),
        ("deeplabv3", {"output_stride": 4}, "output_stride"),
        ("fcn8", {"norm": "gn", "neck": "fpn"}, "model=fcn8 does not support neck=fpn"),
        ("unet_tiny", {"drop": "stochastic_depth"}, "does not support drop=stochastic_depth"),
    ],
)
def test_bad_settings(name: str, wrong: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=message):
        small(name, **wrong)


@pytest.mark.parametrize("name", ["unet", "fcn8", "fcn"])
def test_a_backbone_can_be_frozen_and_have_the_weights_of_a_classifier(name: str) -> None:
    spec, backbone = SegmentationSpec(), {"name": "resnet18", "width": 4}
    network = small(name, backbone=backbone)
    assert spec.backbone_modules(network) == [network.backbone.network]
    state = build_model(num_classes=7, image_size=96, **backbone).state_dict()
    assert spec.load_backbone(state, network, "here")
    loaded = network.backbone.network.state_dict()
    assert loaded
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    assert not spec.load_backbone(network.state_dict(), network, "here")
    with pytest.raises(UserError, match="here: the weights belong to another model than the backbone"):
        spec.load_backbone({}, network, "here")
    own = small("unet")
    assert own.head not in spec.backbone_modules(own)
    assert not spec.load_backbone(state, own, "here")


def test_images_are_padded_to_the_stride_and_cropped_back() -> None:
    network = small("unet")
    assert isinstance(network, Segmenter)
    assert [network.padded(side) for side in (1, 4, 5, 8)] == [4, 4, 8, 8]
    images = torch.randn(1, 3, 9, 10)
    padded = nn.functional.pad(images, (0, 2, 0, 3))
    assert torch.equal(network(images), network(padded)[:, :, :9, :10])
