"""Backbones from elsewhere, whose feature maps hooks find: timm's, torchvision's, and modules made to be difficult."""

from copy import deepcopy
from math import ceil
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision.models
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from dlzoo.boxes.objects import pad_labels
from dlzoo.builder.model import build_model, make_parts
from dlzoo.builder.weights import child_state
from dlzoo.core.errors import UserError
from dlzoo.core.registries import BACKBONES
from dlzoo.layers.batch_norm_sync import CrossMiniBatchNorm
from dlzoo.layers.ceil_mode import round_up
from dlzoo.layers.norm import GroupNorm
from dlzoo.models import third_party
from dlzoo.models.backbone import Backbone
from dlzoo.models.feature_info import HookedFeatures
from dlzoo.runs.run_dir import RunDir
from tests.small import SMALL_PARTS, TINY, same, train, weights
from tests.tasks.detection.models.test_detectors import SMALL, learnt, rows
from tests.tasks.detection.models.test_detectors import images as random_images

pytestmark = pytest.mark.filterwarnings("ignore")

#: Small networks whose blocks are made in different ways.
ARCHS = [
    *(("timm", "test_resnet"), ("timm", "test_convnext"), ("timm", "test_efficientnet"), ("timm", "densenet121")),
    *(("torchvision", "mobilenet_v3_small"), ("torchvision", "shufflenet_v2_x0_5"), ("torchvision", "swin_t")),
]
DETECTORS = [*SMALL, "yolov3", "yolov4", "yolo_tiny"]


def adopted(source: str, arch: str, *, image_size: int = 64, **chosen: Any) -> nn.Module:
    entry = BACKBONES[source]
    wiring = {"num_classes": 1, "in_channels": 3, "image_size": image_size, "parts": make_parts(entry, chosen)}
    torch.manual_seed(0)
    return entry.build(wiring=wiring, arch=arch)


def selected(network: nn.Module, strides: tuple[int, ...], image_size: int = 64) -> tuple[Backbone, list[int]]:
    made = Backbone(network, in_channels=3, image_size=image_size)
    return made, made.select(strides, make_parts(BACKBONES["resnet18"], {"act": "mish"}))


def detector(name: str, source: str, arch: str, *, pretrained: bool = False, **choices: Any) -> Any:
    torch.manual_seed(0)
    settings = {"num_classes": 3, "image_size": 128, **SMALL.get(name, {"neck": {"name": "fpn", "depth": 1}})}
    backbone = {"name": source, "arch": arch, "pretrained": pretrained}
    return build_model(name, backbone=backbone, **(settings | choices))


@pytest.mark.parametrize(("source", "arch"), ARCHS)
def test_sizes_gradients_and_copies(source: str, arch: str) -> None:
    network, channels = selected(adopted(source, arch), (8, 16, 32, 64))
    sizes = [(ceil(75 / stride), ceil(101 / stride)) for stride in (8, 16, 32, 64)]
    maps = network(torch.randn(2, 3, 75, 101))
    assert [tuple(x.shape) for x in maps] == [(2, wide, *size) for wide, size in zip(channels, sizes, strict=True)]
    sum(x.square().mean() for x in maps).backward()
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad, key
        assert parameter.grad is not None, key
    with torch.no_grad():
        images, copy = torch.randn(1, 3, 96, 96), deepcopy(network.eval())
        once = network(images)
        for parameter in network.parameters():
            parameter.zero_()
        assert all(torch.equal(x, y) for x, y in zip(once, copy(images), strict=True))
        assert not any(torch.equal(x, y) for x, y in zip(once, network(images), strict=True))


@pytest.mark.parametrize("arch", ["test_resnet", "test_convnext", "resnet26d", "mobilenetv3_small_050"])
@torch.no_grad()
def test_feature_maps_are_timms(arch: str) -> None:
    """Where nothing is left over at the edges of the images."""
    network, channels = selected(adopted("timm", arch), (8, 16, 32))
    torch.manual_seed(0)
    theirs = timm.create_model(arch, features_only=True, num_classes=1).eval()
    # The same seed gives the same weights, but where timm leaves layers out: there their names are the same.
    theirs.load_state_dict(child_state(network.network.state_dict(), "body"), strict=False)
    images = torch.randn(1, 3, 64, 64)
    expected = dict(zip(theirs.feature_info.reduction(), theirs(images), strict=True))
    for wide, stride, feature_map in zip(channels, (8, 16, 32), network.eval()(images), strict=True):
        assert feature_map.shape[1] == wide
        torch.testing.assert_close(feature_map, expected[stride])


@torch.no_grad()
def test_feature_maps_are_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = create_feature_extractor(torchvision.models.resnet18(num_classes=1).eval(), ["layer2", "layer3", "layer4"])
    network, channels = selected(adopted("torchvision", "resnet18"), (8, 16, 32))
    assert channels == [128, 256, 512]
    images = torch.randn(1, 3, 64, 64)
    for feature_map, expected in zip(network.eval()(images), theirs(images).values(), strict=True):
        torch.testing.assert_close(feature_map, expected)


class Functional(nn.Module):
    """Activations in place outside of blocks, a block that is called twice, and feature maps with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, 2, 1)
        self.mix, self.conv3 = nn.Conv2d(5, 5, 1), nn.Conv2d(5, 6, 3, 2, 1)
        self.to_last, self.head = Permute(), nn.Linear(6, 2)
        self.auxiliary = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.conv1(x))
        x = self.mix(self.mix(self.conv2(x)))
        return self.head(self.to_last(self.conv3(x))).mean((1, 2))


class Permute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1) + 1


@torch.no_grad()
def test_what_blocks_are_given_and_where_channels_are() -> None:
    torch.manual_seed(0)
    network = Functional()
    hooked = HookedFeatures(network, 3, 32)
    assert [tuple(stage) for stage in hooked.feature_stages] == [
        ("conv2", 2, 4),  # which is given what conv1 returned, after the activation
        ("conv3", 4, 5),
        ("head", 8, 2),
    ]
    images = torch.randn(2, 3, 32, 32)
    first = F.relu(network.conv1(images))
    second = network.mix(network.mix(network.conv2(first)))
    third = network.head(network.to_last(network.conv3(second))).permute(0, 3, 1, 2)
    for last in (1, 2, 3):
        copy = deepcopy(hooked)
        copy.remove_after(copy.feature_stages[last - 1])
        maps = list(copy.feature_maps(images))
        assert all(torch.equal(x, y) for x, y in zip(maps, (first, second, third)[:last], strict=True))
        gone = {"head": last < 3, "conv3": last < 3, "conv2": last < 2, "conv1": False, "auxiliary": True}
        assert {name: isinstance(copy.network.get_submodule(name), nn.Identity) for name in gone} == gone


def test_an_activation_in_place_belongs_to_the_feature_map() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, 2, 1))
    assert [stage.name for stage in HookedFeatures(network, 3, 32).feature_stages] == ["1", "2"]
    images = torch.randn(1, 3, 32, 32)
    (alone, *_), (beside, *_) = (selected(deepcopy(network), strides)[0](images) for strides in ((2,), (2, 4)))
    assert torch.equal(alone, beside)
    assert alone.min() == 0


def test_what_rounding_up_adds_to_an_input_is_no_feature_map() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, 2, 1), nn.MaxPool2d(3, 2))
    round_up(network)
    stages = HookedFeatures(network, 3, 8).feature_stages
    assert [tuple(stage) for stage in stages] == [("0", 2, 4), ("1", 4, 5), ("2", 8, 5)]


@pytest.mark.parametrize(
    ("source", "arch", "match"),
    [
        ("timm", "test_vit", r"cannot work on images of 65 px \(.*choose a convolutional network"),
        ("torchvision", "vit_b_32", r"cannot work on images of 65 px \(.*choose a convolutional network"),
        ("timm", "resnet19", "timm has no model 'resnet19'"),
        ("torchvision", "alexnet", "has no feature maps at stride 2, but at 4, 8, 16, 32"),
    ],
)
def test_refusals_are_one_line(source: str, arch: str, match: str) -> None:
    with pytest.raises(UserError, match=match) as error:
        selected(adopted(source, arch), (2, 4))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("source", "arch"), [("timm", "test_resnet"), ("torchvision", "mobilenet_v3_small")])
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_learns(name: str, source: str, arch: str) -> None:
    net = detector(name, source, arch, norm="gn", **({"head_norm": True} if name == "retinanet" else {}))
    assert net.notes[0].startswith("norm: ")
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.backbone.modules())
    assert any(isinstance(module, GroupNorm) for module in net.backbone.network.modules())
    stages = net.match_targets(net(random_images(2, 150)), pad_labels([rows(3)] * 2))
    sum(learnt(stages, softmax_classes=net.softmax_classes)).backward()
    learning = {key: p.grad is not None for key, p in net.backbone.named_parameters() if p.requires_grad}
    assert learning
    assert all(learning.values())


def test_a_run_trains_says_what_was_replaced_and_its_backbone_starts_another(tmp_path: Any) -> None:
    words = [*TINY, "trainer.max_epochs=1", "norm=gn", "optimizer.lr=0.001"]
    backbone = ["backbone=timm", "backbone.arch=test_resnet"]
    run = train(*words, "model=yolov3", *SMALL_PARTS["yolov3"], *backbone)
    note, _ = RunDir.open(run.dir).read()["remarks"]  # and one on the two validation images
    assert note.startswith("norm: ")
    assert all(torch.isfinite(value).all() for value in weights(run).values())
    again = train(*words, "model=yolov3", *SMALL_PARTS["yolov3"], *backbone)
    assert same(weights(run), weights(again))


@pytest.mark.parametrize("name", ["yolov3", "yolov4"])
def test_pretrained_weights_reach_the_backbone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With random weights in place of the download. YOLOv4's own norm stays out of them."""
    torch.manual_seed(0)
    reference = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None)
    monkeypatch.setattr(third_party, "download", lambda arch: deepcopy(reference))
    net = detector(name, "torchvision", "shufflenet_v2_x0_5", pretrained=True)
    state = reference.state_dict()
    own = child_state(net.backbone.network.state_dict(), "body")
    assert len(own) > 200
    assert all(torch.equal(state[key], value) for key, value in own.items())
    assert net.normalisation[0] == [0.485, 0.456, 0.406]
    assert any(isinstance(module, CrossMiniBatchNorm) for module in net.neck.modules()) == (name == "yolov4")
    with pytest.raises(UserError, match="pretrained weights go with the model's own norm"):
        detector(name, "torchvision", "shufflenet_v2_x0_5", pretrained=True, norm="gn")


def test_a_backbone_from_elsewhere_compiles() -> None:
    network, _ = selected(adopted("timm", "test_resnet"), (8, 16, 32))
    x = torch.randn(1, 3, 64, 64)
    expected = network.eval()(x)
    network.compile(backend="eager", dynamic=False)
    assert all(torch.equal(a, b) for a, b in zip(expected, network(x), strict=True))
