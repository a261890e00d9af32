"""The same outputs as torchvision's and timm's models, from the same random weights, in training and in evaluation."""

import pytest
import timm
import torch
import torchvision.models
from torch import nn

from dlzoo.builder.model import build_model
from dlzoo.core.registries import MODELS
from dlzoo.layers.head import WithAuxiliary

#: (ours, its parts and settings, timm's name). timm's Darknets have a slope of 0.01, the paper's and ours 0.1.
TIMM = [
    ("resnet50", {"attention": "se"}, "seresnet50"),
    ("resnext50_32x4d", {"attention": "se"}, "seresnext50_32x4d"),
    ("darknet53", {"act": {"name": "leaky_relu", "negative_slope": 0.01}}, "darknet53"),
    ("cspdarknet53", {"act": {"name": "leaky_relu", "negative_slope": 0.01}}, "cspdarknet53"),
    ("hrnet_w18", {}, "hrnet_w18"),
    ("mobilenet_v1", {"act": "relu6"}, "mobilenetv1_100"),
    ("preact_resnet50", {}, "resnetv2_50"),
]
#: Deeper or wider than another of their family, and the same otherwise: their outputs are compared in long tests only.
SIBLINGS = ("densenet161", "densenet169", "densenet201", "resnet34", "resnet101", "resnet152", "resnext101_32x8d")
SIBLINGS += ("shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "vgg13", "vgg16", "vgg19")
TORCHVISION = [
    pytest.param(name, norm, counterpart, marks=[pytest.mark.long] if name in SIBLINGS else [])
    for name in MODELS.names()
    for norm, counterpart in MODELS[name].marks.torchvision.items()
]


def compare(ours: nn.Module, reference: nn.Module) -> None:
    """Copy the weights over, in order, and compare outputs; dropout in the same place draws the same."""
    theirs, own = reference.state_dict(), ours.state_dict()
    assert [value.numel() for value in theirs.values()] == [value.numel() for value in own.values()]
    copied = {key: value.view(own[key].shape) for key, value in zip(own, theirs.values(), strict=True)}
    ours.load_state_dict(copied, assign=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for mode in (True, False):
            outputs = []
            for network in (ours.train(mode), reference.train(mode)):
                torch.manual_seed(0)
                outputs.append(network(x))
            if isinstance(outputs[0], WithAuxiliary):
                first, second = outputs
                outputs = [torch.cat([first.logits, *first.auxiliary]), torch.cat([second[0], second[2], second[1]])]
            torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)


def on_meta(name: str, **chosen: object) -> nn.Module:
    """Ours without weights: drawing those of VGG takes longer than everything else here."""
    with torch.device("meta"):
        return build_model(name, num_classes=7, image_size=224, **chosen)


def filled(network: nn.Module) -> nn.Module:
    """A network of the meta device with weights that repeat a million normal numbers, scaled by their fan-in."""
    numbers = torch.randn(2**20)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_parameters()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                scale = parameter[0].numel() ** 0.5
                for part in parameter.view(-1).split(len(numbers)):
                    torch.div(numbers[: len(part)], scale, out=part)
            elif not parameter.eq(1).all():
                parameter.copy_(numbers[: len(parameter)] / 10)
    return network


@pytest.mark.parametrize(("name", "norm", "counterpart"), TORCHVISION)
def test_outputs_equal_torchvision(name: str, norm: str, counterpart: str) -> None:
    torch.manual_seed(0)
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        reference = torchvision.models.get_model(counterpart, weights=None, num_classes=7, **extra)
    compare(on_meta(name, norm=norm), filled(reference))


def test_auxiliary_heads_equal_torchvision() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.googlenet(weights=None, num_classes=7, init_weights=False)
    compare(on_meta("googlenet", aux=True), reference)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "chosen", "counterpart"), TIMM)
def test_outputs_equal_timm(name: str, chosen: dict[str, str], counterpart: str) -> None:
    torch.manual_seed(0)
    compare(on_meta(name, **chosen), timm.create_model(counterpart, num_classes=7))
