"""Properties of every model: sizes, torchvision's outputs, every part in every place, one step of training."""

from collections import Counter

import pytest
import torch
import torchvision.models
from torch import nn

from dlzoo.config import compose
from dlzoo.errors import UserError
from dlzoo.registry import ACTS, MODELS, NORMS
from dlzoo.size import size as size_of
from dlzoo.zoo import build, build_model

#: name -> (parameters, multiply-accumulates in millions), 1000 classes at 224 px (papers and torchvision).
IMAGENET = {
    "resnet18": (11_689_512, 1_814),
    "resnet34": (21_797_672, 3_664),
    "resnet50": (25_557_032, 4_089),
    "resnet101": (44_549_160, 7_801),
    "resnet152": (60_192_808, 11_514),
    "resnext50_32x4d": (25_028_904, 4_231),
    "resnext101_32x8d": (88_791_336, 16_414),
    "densenet121": (7_978_856, 2_834),
    "densenet161": (28_681_000, 7_728),
    "densenet169": (14_149_480, 3_360),
    "densenet201": (20_013_928, 4_291),
}
#: 10 classes at 32 px.
CIFAR = {
    "resnet20": (269_722, 40.6),
    "resnet32": (464_154, 68.9),
    "resnet44": (658_586, 97.2),
    "resnet56": (853_018, 125.5),
    "resnet110": (1_727_962, 252.9),
    "resnet18": (11_173_962, 555.4),
    "resnext29_8x64d": (34_426_698, 5_387),
    "resnext29_16x64d": (68_155_210, 10_689),
    "densenet_bc_100_12": (769_162, 287.9),
    "densenet_bc_190_40": (25_624_430, 9_302),
}
#: A small form of each family, and the image size that it is tried on.
REDUCED = {
    "linear": ({}, 8),
    "mlp": ({"hidden": [16, 16]}, 8),
    "resnet18": ({"width": 8}, 16),
    "resnet50": ({"width": 8, "stem": "imagenet"}, 64),
    "resnext50_32x4d": ({"width": 16}, 16),
    "resnet20": ({"width": 8}, 8),
    "resnext29_8x64d": ({"width": 8}, 8),
    "densenet121": ({"growth_rate": 4}, 32),
    "densenet_bc_40_12": ({"growth_rate": 4}, 8),
}


def on_meta(name: str, *, image_size: int = 32, **parts: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, num_classes=10, image_size=image_size, **parts)


def kinds(network: nn.Module) -> Counter[str]:
    return Counter(type(module).__name__ for module in network.modules())


@pytest.mark.parametrize(
    ("name", "image_size", "num_classes", "size"),
    [(name, 224, 1000, size) for name, size in IMAGENET.items()]
    + [(name, 32, 10, size) for name, size in CIFAR.items()],
)
def test_parameters_to_the_unit_and_macs_within_a_percent(
    name: str, image_size: int, num_classes: int, size: tuple[int, float]
) -> None:
    wiring = {"num_classes": num_classes, "in_channels": 3, "image_size": image_size}
    params, macs = size_of(compose([f"model={name}"]), wiring, batch_size=2)
    assert params == size[0]
    assert macs / 1e6 == pytest.approx(size[1], rel=0.01)


def test_shortcuts_have_the_parameters_of_the_paper() -> None:
    def count(**knobs: str) -> int:
        return sum(p.numel() for p in build_model("resnet20", num_classes=10, image_size=32, **knobs).parameters())

    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert count(shortcut="B") == count() + projections
    assert count(shortcut="none") == count()
    assert count(norm="gn") == count()


@pytest.mark.parametrize("name", IMAGENET)
def test_outputs_equal_torchvision(name: str) -> None:
    torch.manual_seed(0)
    reference = getattr(torchvision.models, name)(weights=None, num_classes=7)
    ours = build_model(name, num_classes=7, image_size=224, init="torch")
    theirs, own = reference.state_dict(), ours.state_dict()
    assert [value.shape for value in theirs.values()] == [value.shape for value in own.values()]
    ours.load_state_dict(dict(zip(own, theirs.values(), strict=True)))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for mode in (True, False):
            torch.testing.assert_close(ours.train(mode)(x), reference.train(mode)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS.names())
@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_takes_every_norm_everywhere(name: str, norm: str) -> None:
    if "norm" not in MODELS[name].meta:
        with pytest.raises(UserError, match=f"model={name} has no place for norm={norm}"):
            on_meta(name, norm=norm)
        return
    norms = {NORMS[other].builder.__name__ for other in NORMS.names()}
    places = sum(count for kind, count in kinds(on_meta(name)).items() if kind in norms)
    found = {kind: count for kind, count in kinds(on_meta(name, norm=norm)).items() if kind in norms}
    assert found == {NORMS[norm].builder.__name__: places}


@pytest.mark.parametrize("act", ACTS.names())
@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_takes_every_activation_everywhere(name: str, act: str) -> None:
    if "act" not in MODELS[name].meta:
        with pytest.raises(UserError, match=f"model={name} has no place for act={act}"):
            on_meta(name, act=act)
        return
    acts = {type(build("act", other)).__name__ for other in ACTS.names()}
    places = sum(count for kind, count in kinds(on_meta(name)).items() if kind in acts)
    found = {kind: count for kind, count in kinds(on_meta(name, act=act)).items() if kind in acts}
    assert places > 0
    assert found == {type(build("act", act)).__name__: places}


def test_a_reduced_form_of_every_family_is_tried() -> None:
    def family(name: str) -> object:
        builder = MODELS[name].builder
        return getattr(builder, "func", builder)

    assert {family(name) for name in REDUCED} == {family(name) for name in MODELS.names()}


@pytest.mark.parametrize(
    ("kind", "part"), [("norm", n) for n in NORMS.names()] + [("act", a) for a in ACTS.names() if a != "relu"]
)
@pytest.mark.parametrize("name", REDUCED)
def test_one_step_of_training(name: str, kind: str, part: str) -> None:
    """The right shape, and a gradient for every parameter that is not all zero."""
    if kind not in MODELS[name].meta:
        return  # its refusal is tested above
    knobs, image_size = REDUCED[name]
    torch.manual_seed(0)
    network = build_model(name, num_classes=5, image_size=image_size, in_channels=2, **{kind: part}, **knobs)
    images, labels = torch.randn(4, 2, image_size, image_size), torch.tensor([0, 1, 2, 3])
    if (name, part) == ("mlp", "in"):
        with pytest.raises(UserError, match="maps of one pixel"):
            network(images)
        return
    optimizer = build("optimizer", "sgd", lr=0.01)(network.parameters())
    logits = network(images)
    assert logits.shape == (4, 5)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    build("loss", "cross_entropy")(logits, labels).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(("shortcut", "carried"), [("A", True), ("B", True), ("none", False)])
def test_plain_nets_have_no_shortcut_that_carries_the_input(shortcut: str, carried: bool) -> None:
    init = {"name": "he", "zero_last_norm": True}  # branches give nothing: what comes out came by the shortcut
    network = build_model("resnet20", num_classes=4, image_size=16, shortcut=shortcut, init=init)
    assert network.stages(torch.rand(2, 16, 16, 16)).any() == carried


def test_keys_do_not_depend_on_the_ablation() -> None:
    def keys(**parts: str) -> list[str]:
        return [key for key, _ in build_model("densenet_bc_40_12", num_classes=4, **parts).named_parameters()]

    assert keys() == keys(norm="gn") == keys(norm="in", act="swish")


def test_what_build_returns_is_a_part() -> None:
    network = build_model("resnet20", num_classes=2, norm=build("norm", "gn", num_groups=2), act=build("act", "mish"))
    assert {m.num_groups for m in network.modules() if isinstance(m, nn.GroupNorm)} == {2}
    acts = [module for module in network.modules() if isinstance(module, nn.Mish)]
    assert len(acts) == kinds(on_meta("resnet20"))["ReLU"]
    slopes = build_model("resnet20", num_classes=2, act=build("act", "prelu")).modules()
    assert len({id(module.weight) for module in slopes if isinstance(module, nn.PReLU)}) == len(acts)
    with pytest.raises(UserError, match="no place for norm=GroupNorm"):
        build_model("linear", num_classes=2, norm=build("norm", "gn"))


def test_a_model_without_a_place_as_it_is_set_refuses_what_was_asked_for_and_not_its_default() -> None:
    build_model("mlp", num_classes=2, image_size=8, hidden=())
    with pytest.raises(UserError, match="as it is set has no place for norm=gn"):
        build_model("mlp", num_classes=2, image_size=8, hidden=(), norm="gn")


def test_an_unused_part_is_refused_even_if_the_registration_promises_it() -> None:
    @MODELS.register("forgetful", source="here", norm="bn")
    def forgetful(*, num_classes: int, parts: object) -> nn.Module:
        """Never asks for a norm."""
        return nn.Linear(1, num_classes)

    try:
        with pytest.raises(UserError, match="model=forgetful as it is set has no place for norm=gn"):
            build_model("forgetful", num_classes=2, norm="gn")
    finally:
        del MODELS._entries["forgetful"]


def test_stem_follows_the_image_size_and_can_be_said() -> None:
    small, large = (build_model("resnet18", num_classes=2, image_size=size) for size in (32, 224))
    assert small.stem.conv.kernel_size == (3, 3)
    assert large.stem[0].conv.kernel_size == (7, 7)
    said = build_model("resnet18", num_classes=2, image_size=32, stem="imagenet")
    assert said.stem[0].conv.kernel_size == (7, 7)


def test_zero_last_norm_makes_residual_branches_start_as_zero() -> None:
    init = {"name": "he", "zero_last_norm": True}
    network = build_model("resnet18", num_classes=2, image_size=32, init=init)
    x = torch.randn(2, 64, 8, 8).relu()
    assert torch.equal(network.stages[0][0](x), x)
    with pytest.raises(UserError, match="no residual branches"):
        build_model("densenet_bc_40_12", num_classes=2, init=init)
    with pytest.raises(UserError, match="needs a norm with a scale"):
        build_model("resnet20", num_classes=2, norm="none", init=init)


def test_dense_forms() -> None:
    """Plain, B, C and BC of DenseNet (k=12, L=40): parameters by the paper's recurrences."""

    def count(**knobs: object) -> int:
        return sum(p.numel() for p in build_model("densenet_bc_40_12", num_classes=10, **knobs).parameters())

    def expected(bottleneck: bool, compression: float) -> int:
        k, channels = 12, 24 if bottleneck and compression < 1 else 16
        total = 27 * channels
        for block in range(3):
            for _ in range(6 if bottleneck else 12):
                if bottleneck:
                    total += 2 * channels + channels * 4 * k + 2 * 4 * k + 4 * k * k * 9
                else:
                    total += 2 * channels + channels * k * 9
                channels += k
            if block < 2:
                kept = int(channels * compression)
                total += 2 * channels + channels * kept
                channels = kept
        return total + 2 * channels + channels * 10 + 10

    for bottleneck in (True, False):
        for compression in (0.5, 1.0):
            assert count(bottleneck=bottleneck, compression=compression) == expected(bottleneck, compression)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"name": "resnet21"}, "did you mean"),
        ({"name": "resnet20", "norm": "batch"}, "unknown norm"),
        ({"name": "resnet20", "widht": 3}, "did you mean 'width'"),
        ({"name": "resnet20", "num_classes": 0}, "num_classes must be an integer >= 1"),
        ({"name": "resnet20", "norm": {"name": "gn", "num_groups": 0}}, "num_groups must be an integer >= 1"),
        ({"name": "resnet20", "norm": None}, "norm must be a name"),
        ({"name": "resnet20", "norm": {"num_groups": 3}}, "norm must be a name, a mapping with a name"),
        ({"name": "resnet20", "num_classes": True}, "num_classes must be an integer"),
        ({"name": "resnet20", "parts": 3}, "has no knob 'parts'"),
        ({"name": 5}, "unknown model 5"),
        ({"name": "resnext50_32x4d", "width": 8}, "leaves a group no channel; choose at least 16"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: dict, match: str) -> None:
    arguments = {"num_classes": 2} | arguments
    name = arguments.pop("name")
    with pytest.raises(UserError, match=match) as error:
        build_model(name, **arguments)
    assert "\n" not in str(error.value)
