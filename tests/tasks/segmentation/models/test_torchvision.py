"""FCN and DeepLabv3 against torchvision's, from the same weights: outputs, losses and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50, fcn_resnet50

from dlzoo.builder.model import build_loss, build_model
from dlzoo.data.mask_set import IGNORED
from dlzoo.layers.head import WithAuxiliary
from dlzoo.tasks.segmentation.losses import MaskLoss
from tests.models.test_counterparts import filled

REFERENCES: dict[str, Callable[..., nn.Module]] = {"fcn": fcn_resnet50, "deeplabv3": deeplabv3_resnet50}
PARAMS = {("fcn", True): 35_322_218, ("fcn", False): 32_957_013}
PARAMS |= {("deeplabv3", True): 42_004_074, ("deeplabv3", False): 39_638_869}


def on_meta(name: str, num_classes: int, auxiliary: bool, **settings: Any) -> tuple[Any, nn.Module]:
    """Ours and theirs."""
    with torch.device("meta"):
        theirs = REFERENCES[name](weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=auxiliary)
        return build_model(name, num_classes=num_classes, auxiliary=auxiliary, **settings), theirs


@pytest.mark.parametrize(("name", "auxiliary"), PARAMS)
@pytest.mark.parametrize("image_size", [32, 224])
def test_as_many_parameters(name: str, auxiliary: bool, image_size: int) -> None:
    """Also for small images: the stem is that of photographs."""
    counts = [
        sum(p.numel() for p in network.parameters()) for network in on_meta(name, 21, auxiliary, image_size=image_size)
    ]
    assert counts == [PARAMS[name, auxiliary]] * 2


def loss_of(output: Any, masks: Tensor) -> Tensor:
    """Ours, in both forms that a network returns."""
    loss = MaskLoss(build_loss("cross_entropy"))
    if not isinstance(output, WithAuxiliary):
        return loss(output, masks)
    return loss(output.logits, masks) + output.weight * sum(loss(each, masks) for each in output.auxiliary)


def expected_loss(output: dict[str, Tensor], masks: Tensor) -> Tensor:
    """That of torchvision's training script."""
    losses = {key: F.cross_entropy(x, masks.long(), ignore_index=IGNORED) for key, x in output.items()}
    return losses["out"] + 0.5 * losses["aux"] if "aux" in losses else losses["out"]


@pytest.mark.parametrize(
    ("name", "auxiliary", "training"),
    [
        *(("fcn", True, True), ("deeplabv3", True, False)),
        # Each takes most of four seconds.
        *(pytest.param(*each, marks=pytest.mark.long) for each in (("fcn", True, False), ("fcn", False, False))),
        pytest.param("deeplabv3", False, False, marks=pytest.mark.long),
    ],
)
def test_outputs_losses_and_gradients(name: str, auxiliary: bool, training: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = on_meta(name, 5, auxiliary)
    theirs = filled(theirs).double().train(training)
    values = (value.clone() for value in theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)), assign=True)
    ours.train(training)
    if auxiliary:
        ours.auxiliary.training = True  # theirs has its logits in evaluation too
    images = torch.randn(2, 3, 33, 42, dtype=torch.float64)
    masks = torch.randint(0, 6, (2, 33, 42), dtype=torch.uint8)
    masks[masks == 5] = IGNORED
    outputs: list[Any] = []
    for network in (ours, theirs):
        torch.manual_seed(0)  # dropout draws the same numbers
        outputs.append(network(images))
    output, expected = outputs
    assert isinstance(output, WithAuxiliary) == auxiliary == ("aux" in expected)
    logits = [output.logits, *output.auxiliary] if auxiliary else [output]
    for found, wanted in zip(logits, expected.values(), strict=True):
        torch.testing.assert_close(found, wanted)
    losses = loss_of(output, masks), expected_loss(expected, masks)
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad)


@torch.no_grad()
def test_output_stride_16_has_half_the_dilations() -> None:
    network: Any = build_model("deeplabv3", num_classes=3, output_stride=16, backbone={"name": "resnet18", "width": 4})
    assert network.eval().backbone(torch.randn(1, 3, 96, 96))[-1].shape[2:] == (6, 6)
    rates = [m.dilation for m in network.decoder.modules() if isinstance(m, nn.Conv2d) and m.dilation != (1, 1)]
    assert rates == [(6, 6), (12, 12), (18, 18)]
    assert network(torch.randn(1, 3, 50, 70)).shape == (1, 3, 50, 70)


def test_auxiliary_heads_are_for_training() -> None:
    network: Any = build_model("fcn", num_classes=3, backbone={"name": "resnet18", "width": 4})
    images = torch.randn(2, 3, 48, 48)
    logits, (others,), weight = network(images)
    assert logits.shape == others.shape == (2, 3, 48, 48)
    assert weight == 0.5
    assert isinstance(network.eval()(images), Tensor)
    network.train().auxiliary.eval()  # frozen
    assert isinstance(network(images), Tensor)
