"""`dlzoo show model`: what it says of sizes, costs and receptive fields, against sums, counters and gradients."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.builder.model import build_model
from dlzoo.builder.profile import count_params_and_macs as size_of
from dlzoo.builder.profile import profile_training
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.models.recompute import recompute_stages
from dlzoo.show.field import AxisField, ReceptiveFieldTracker
from dlzoo.show.model import layers_of, profile, units
from tests.models.test_models import REDUCED
from tests.models.test_recompute import count_kept


def overrides_of(name: str) -> list[str]:
    settings, _ = REDUCED[name]
    return [f"model={name}", *(f"model.{key}={value}" for key, value in settings.items())]


@pytest.mark.parametrize("name", REDUCED)
def test_layers_add_up_to_the_network(name: str) -> None:
    """Parameters and multiply-accumulates of the rows are those of the whole, by torch's counter."""
    frozen = compose(overrides_of(name))
    wiring = {"num_classes": 5, "in_channels": 3, "image_size": REDUCED[name][1]}
    layers = layers_of(frozen, wiring)
    params, macs = size_of(frozen, wiring, batch_size=2)
    assert sum(layer.params for layer in layers) == params
    # What a network multiplies outside of its layers is attention of the whole network's.
    assert sum(layer.macs for layer in layers) == pytest.approx(macs, rel=1e-6)
    assert layers[-1].output == [5]


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "vgg11"])
def test_checkpointed_activations_are_the_inputs_of_blocks_and_the_largest_block(name: str) -> None:
    """Against a count of what is kept: the estimate also contains the inside of one block."""
    profile = profile_training(compose([f"model={name}"]), {"num_classes": 9, "in_channels": 3, "image_size": 64}, 2)
    network = build_model(name, num_classes=9, image_size=64).train()
    with recompute_stages(network), count_kept(network) as kept:
        network(torch.rand(2, 3, 64, 64))
    assert profile.checkpointed is not None
    assert kept[0] < profile.checkpointed < 0.9 * profile.activations


def test_entries_without_blocks_of_ours_are_shown_too(capsys: pytest.CaptureFixture) -> None:
    for name in ("linear", "mlp", "lenet", "timm", "torchvision"):
        assert main(["show", "model", name, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["params"] == sum(layer["params"] for layer in found["layers"]) > 0


class Stop(Exception):  # noqa: N818 - no error
    """The layer that is looked at has given its output."""


def up_to(network: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What a layer of the network gives; what is behind it is not computed."""

    def stop(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        raise Stop(output)

    handle = layer.register_forward_hook(stop)
    try:
        network(images)
    except Stop as stopped:
        return stopped.args[0]
    finally:
        handle.remove()
    raise AssertionError("the layer is never called")


def columns_seen(network: nn.Module, layer: nn.Module, images: Tensor, column: int) -> list[int]:
    """The columns of the image that the feature at `column` of the middle row depends on."""
    images = images.clone().requires_grad_()
    out = up_to(network, layer, images)
    out[:, :, out.shape[2] // 2, column].sum().backward()
    return images.grad.abs().sum((0, 1, 2)).nonzero().ravel().tolist()


#: Networks of which every weight can be positive, so that no gradient cancels, and the layers to look at.
FIELDS = [
    ("resnet20", {"width": 4}, {}, "stages.1.1.conv2"),
    ("resnet20", {"width": 4, "shortcut": "A", "downsample": "pool"}, {"pool": "avg"}, "stages.1.1.conv2"),
    ("resnet20", {"width": 4}, {"conv": {"name": "dilated", "rates": [2]}}, "stages.0.2.conv2"),
    ("resnet20", {"width": 4}, {"conv": {"name": "standard", "kernel_size": 4}}, "stages.1.1.conv2"),
    ("resnet18", {"width": 4, "stem": "imagenet"}, {}, "stages.1.1.conv2"),
    ("resnet50", {"width": 4}, {}, "stages.1.1.conv3"),
    ("preact_resnet20", {"width": 4}, {}, "stages.1.1.conv2"),
    ("densenet_bc_40_12", {"growth_rate": 4}, {}, "blocks.8.grow"),
    ("googlenet", {"kernels": [1, 3, 5]}, {}, "stage3.1.large"),
    ("mobilenet_v2", {"width": 0.25}, {"act": "relu"}, "blocks.6.project"),
    ("shufflenet_v1", {"width": 0.5}, {}, "units.5.expand"),
    ("shufflenet_v2_x0_5", {}, {}, "units.5.branch.pointwise2"),
    ("hrnet_w18", {"width": 4}, {"upsample": "bilinear"}, "stages.1.exchanges.0.branches.0.0.conv1"),
    ("hrnet_w18", {"width": 4}, {"upsample": "transposed"}, "stages.1.exchanges.0.branches.1.0.conv1"),
    ("darknet53", {"width": 4}, {}, "stages.2.blocks.1.conv2"),
    ("cspdarknet53", {"width": 4}, {}, "stages.2.blocks.1.conv2"),
    ("vgg11", {"width": 4}, {"conv": {"name": "dilated", "rates": [1, 2, 5]}, "head": "gap"}, "layers.6"),
    ("nin", {"width": 12}, {}, "layers.3.0"),
    ("alexnet", {}, {"head": "gap"}, "layers.4"),
]


@pytest.mark.parametrize(("name", "settings", "parts", "path"), FIELDS)
def test_receptive_fields_are_where_gradients_are(
    monkeypatch: pytest.MonkeyPatch, name: str, settings: dict, parts: dict, path: str
) -> None:
    size = 128
    network = build_model(
        name, num_classes=2, image_size=64, in_channels=1, norm="none", drop="none", **parts, **settings
    )
    network.eval()
    # A maximum hands its gradient to one pixel; its window is that of the mean.
    monkeypatch.setattr(nn.MaxPool2d, "forward", lambda self, x: _mean(self, x))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.abs() + 0.01 if parameter.dim() > 1 else torch.zeros(()))
            if parameter.dim() > 1:
                parameter.div_(parameter.flatten(1).sum(1).mean())
    # A column is seen through the middle row, whatever the number of rows.
    images = torch.rand(1, 1, size // 4, size) + 0.1
    layer = network.get_submodule(path)
    tracker = ReceptiveFieldTracker(images)
    with torch.no_grad(), tracker:
        out = up_to(network, layer, images)
    line, middle = tracker.of(out).width, out.shape[-1] // 2
    # Upsampled features differ by their phase: what all of them see is what one may see.
    seen = set()
    for column in range(middle, middle + (2 if name.startswith("hrnet") else 1)):
        seen |= {pixel - column * line.jump - line.start for pixel in columns_seen(network, layer, images, column)}
    assert seen == {bit for bit in range(line.span) if line.mask >> bit & 1}


def _mean(pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)


def test_two_small_kernels_see_what_a_large_one_sees() -> None:
    assert AxisField().window(3, padding=1).window(3, padding=1) == AxisField().window(5, padding=2)


@pytest.mark.parametrize(
    ("rates", "span", "coverage"), [((2, 2, 2), 13, 7 / 13), ((1, 2, 5), 17, 1.0), ((3,), 7, 3 / 7)]
)
def test_gridding_of_dilation_rates(rates: tuple[int, ...], span: int, coverage: float) -> None:
    """arXiv:1702.08502, figure 1: equal rates leave gaps, 1, 2, 5 do not."""
    line = AxisField()
    for rate in rates:
        line = line.window(3, padding=rate, dilation=rate)
    assert (line.span, line.coverage) == (span, coverage)


def test_the_memory_of_batch_norm() -> None:
    """A norm keeps its input, as large as the output of the convolution; without one nothing but the input is kept."""

    def kept(norm: str) -> int:
        return profile("resnet20", [f"norm={norm}", "act=relu"])["memory"]

    outputs = sum(4 * c * s * s for c, s, n in ((16, 32, 7), (32, 16, 6), (64, 8, 6)) for _ in range(n))
    assert kept("bn") - kept("none") == pytest.approx(outputs, rel=0.01)


def test_what_is_said_of_layers() -> None:
    found = profile("resnet20", ["norm=gn", "image_size=16", "num_classes=7", "attention=se", "in_channels=1"])
    by_name = {layer["name"]: layer for layer in found["layers"]}
    assert by_name["stem"]["what"] == "conv 3x3, gn 2 groups, relu"
    assert by_name["stages.1.0.conv1"]["what"] == "conv 3x3 /2, gn 4 groups, relu"
    assert by_name["stages.1.0.conv1"]["output"] == [32, 8, 8]
    assert by_name["stages.1.0.conv1"]["kernels"] == [[3, 3]]
    assert by_name["stages.0.0.attention"]["field"] is None  # its gates are made from all pixels
    assert by_name["head"]["output"] == [7]
    assert found["reference"] is None
    assert "locally_connected" not in found["takes"]["conv"]
    assert profile("resnet20")["reference"]["params"] == 269_722


def test_a_locally_connected_layer_sees_a_window() -> None:
    found = profile("lenet", ["conv=locally_connected"])
    assert [layer["field"] for layer in found["layers"][:1]] == [[5, 5]]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["image_size=0"], "image_size must be an integer >= 1, not '0'"),
        (["image_size"], "'image_size' is not a setting"),
        (["nrom=gn"], "did you mean"),
        (["model=resnet32"], "the model is already given"),
        (["attention=senet"], "unknown attention"),
    ],
)
def test_wrong_words(words: list[str], match: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "model", "resnet20", *words]) == 2
    assert match in capsys.readouterr().err


def test_images_that_are_too_small_are_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "model", "vgg11", "image_size=8"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_units_hold_every_parameter_once() -> None:
    network = build_model("resnet18", num_classes=2, image_size=32, attention="cbam")
    held = [id(p) for _, module in units(network) for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
