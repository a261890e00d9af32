"""Properties of every model: sizes, torchvision's outputs, every part in every place, one step of training."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Any

import pytest
import torch
from torch import nn

from dlzoo.builder.model import build, build_model, supported_parts
from dlzoo.builder.profile import count_params_and_macs as size_of
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS, PARTS
from dlzoo.data.splits import Splits
from dlzoo.layers.attention import ECA
from dlzoo.layers.drop import GaussianDropout
from dlzoo.layers.head import FullyConnected, PyramidAverage, WithAuxiliary
from dlzoo.layers.norm import GroupNorm
from dlzoo.layers.parts import Parts
from dlzoo.layers.pool import ConvPool
from dlzoo.layers.upsample import Transposed
from dlzoo.models.meta import ShapesOnly
from dlzoo.models.reference import SIZES, Size

#: A small form of each family, and the image size that it is tried on.
REDUCED = {
    "linear": ({}, 8),
    "mlp": ({"hidden": [16, 16]}, 8),
    "lenet": ({}, 32),
    "alexnet": ({}, 16),
    "alexnet_2012": ({}, 16),
    "nin": ({"width": 12}, 16),
    "vgg11": ({"width": 4}, 32),
    "googlenet": ({"aux": True}, 16),
    "resnet18": ({"width": 8}, 16),
    "resnet50": ({"width": 8, "stem": "imagenet", "cross_layer": True}, 64),
    "resnet20": ({"width": 8, "downsample": "pool"}, 8),
    "resnext50_32x4d": ({"width": 16}, 16),
    "resnext29_8x64d": ({"width": 8, "form": "split"}, 8),
    "preact_resnet50": ({"width": 4}, 16),
    "preact_resnet20": ({"width": 8}, 8),
    "wrn_16_4": ({"widen": 2, "width": 4}, 8),
    "densenet121": ({"growth_rate": 8}, 32),
    "densenet_bc_40_12": ({"growth_rate": 8}, 8),
    "mobilenet_v1": ({"width": 0.25}, 16),
    "mobilenet_v2": ({"width": 0.25}, 16),
    "shufflenet_v1": ({"width": 0.5}, 16),
    "shufflenet_v2_x0_5": ({}, 16),
    "hrnet_w18": ({"width": 8}, 16),
    "darknet53": ({"width": 4}, 16),
    "cspdarknet53": ({"width": 4}, 16),
}
#: A heavy part of some families is made small, so that a step takes milliseconds.
LIGHT = {"head": {"fc": {"hidden": [16]}}}


def on_meta(name: str, *, image_size: int = 32, **parts: Any) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, num_classes=10, image_size=image_size, **parts)


def kinds(network: nn.Module) -> Counter[str]:
    return Counter(type(module).__name__ for module in network.modules())


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in SIZES.items() for size in sizes])
def test_parameters_to_the_unit_and_macs_within_a_percent(name: str, size: Size) -> None:
    wiring = {"num_classes": size.num_classes, "in_channels": 3, "image_size": size.image_size}
    params, macs = size_of(compose([f"model={name}"]), wiring, batch_size=2)
    assert params == size.params
    if size.macs is not None:
        assert macs / 1e6 == pytest.approx(size.macs, rel=0.01)


@pytest.mark.parametrize(
    ("overrides", "params"),
    [
        (["model=vgg16", "norm=bn"], 138_365_992),
        (["model=resnet50", "norm=gn"], 25_557_032),
        (["model=resnet50", "attention=se"], 28_088_024),
        (["model=resnet50", "attention=se", "attention.bias=false"], 28_071_976),
        (["model=resnext50_32x4d", "attention=se"], 27_559_896),
        (["model=googlenet", "model.aux=true"], 13_004_888),
    ],
)
def test_parameters_of_variants_to_the_unit(overrides: list[str], params: int) -> None:
    wiring = {"num_classes": 1000, "in_channels": 3, "image_size": 224}
    assert size_of(compose(overrides), wiring, batch_size=2)[0] == params


def test_parameters_by_the_tables_of_the_papers() -> None:
    """Kernel, channels in, channels out of every layer, biases included."""

    def count(layers: list[tuple[int, int, int]]) -> int:
        return sum(kernel**2 * before * after + after for kernel, before, after in layers)

    lenet = [(5, 1, 6), (5, 6, 16), (5, 16, 120), (1, 120, 84), (1, 84, 10)]
    nin = [(5, 3, 192), (1, 192, 160), (1, 160, 96), (5, 96, 192), (1, 192, 192), (1, 192, 192)]
    nin += [(3, 192, 192), (1, 192, 192), (1, 192, 10)]
    for name, channels, layers in (("lenet", 1, lenet), ("nin", 3, nin)):
        network = on_meta(name, in_channels=channels)
        assert sum(p.numel() for p in network.parameters()) == count(layers)


def test_shortcuts_have_the_parameters_of_the_paper() -> None:
    def count(**settings: str) -> int:
        return sum(p.numel() for p in build_model("resnet20", num_classes=10, image_size=32, **settings).parameters())

    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert count(shortcut="B") == count() + projections
    assert count(shortcut="none") == count()
    assert count(norm="gn") == count()


@pytest.mark.parametrize("name", MODELS.names())
def test_what_a_model_does_not_offer_is_refused(name: str) -> None:
    for kind in PARTS:
        if getattr(MODELS[name].marks, kind) is None:
            part = PARTS[kind].names()[0]
            with pytest.raises(UserError, match=f"model={name} does not support {kind}={part}"):
                on_meta(name, **{kind: part})


@pytest.mark.parametrize("size", [40, 224])
@pytest.mark.parametrize("name", [name for name in REDUCED if MODELS[name].marks.head is not None])
def test_a_model_knows_the_size_of_its_last_maps(name: str, size: int) -> None:
    """A fully connected head sees each of their pixels, or an average of whole windows (VGG, AlexNet)."""
    settings = {key: value for key, value in REDUCED[name][0].items() if key != "stem"}
    network = on_meta(name, image_size=size, head={"name": "fc", "hidden": [4]}, **settings)
    (head,) = (module for module in network.modules() if isinstance(module, FullyConnected))
    seen = []
    head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape[-1]))
    with ShapesOnly():
        network.eval()(torch.empty(1, 3, size, size, device="meta"))
    assert head.pool.output_size == (min(seen[0], 7) if name.startswith("vgg") else seen[0])


#: Of each kind a part that no model has by default, and how its layers are recognised.
OTHERS: dict[str, tuple[Any, Callable[[nn.Module], bool]]] = {
    "norm": ("gn", lambda module: isinstance(module, GroupNorm)),
    "act": ("elu", lambda module: isinstance(module, nn.ELU)),
    "conv": ({"name": "dilated", "rates": [3]}, lambda module: getattr(module, "dilation", 1) == (3, 3)),
    "attention": ("eca", lambda module: isinstance(module, ECA)),
    "pool": ("conv", lambda module: isinstance(module, ConvPool)),
    "drop": ("gaussian", lambda module: isinstance(module, GaussianDropout)),
    "head": ("spp", lambda module: isinstance(module, PyramidAverage)),
    "upsample": ("transposed", lambda module: isinstance(module, Transposed)),
}
#: Elsewhere: test_third_party.py, and the simulation; detectors and segmentation networks in their own tests.
OTHERS_HAVE = ("timm", "torchvision", "moved_boxes")
OWN = [name for name in MODELS.names() if name not in OTHERS_HAVE and "classify" in MODELS[name].marks.tasks]


@pytest.mark.parametrize("name", REDUCED)
def test_every_model_takes_what_it_offers_everywhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """All kinds at once: as many layers of each as the model asked for, and none of its usual norms and activations."""
    asked: Counter[str] = Counter()
    take = Parts._take

    def counted(self: Parts, kind: str, offers: set[str] | None = None, **place: Any) -> nn.Module:
        asked[kind] += "" in (offers or {""})
        return take(self, kind, offers, **place)

    offered = {kind for kind, accepted in supported_parts(name).items() if accepted}
    usual = on_meta(name, image_size=224)
    monkeypatch.setattr(Parts, "_take", counted)
    changed = on_meta(name, image_size=224, **{kind: OTHERS[kind][0] for kind in offered})
    for kind in offered:
        found = sum(OTHERS[kind][1](module) for module in changed.modules())
        assert found == asked[kind] > 0, kind
    for kind in offered & {"norm", "act"}:
        default = getattr(MODELS[name].marks, kind)
        entry = PARTS[kind][default if isinstance(default, str) else default["name"]]
        was = entry.builder if isinstance(entry.builder, type) else type(entry.build())
        assert any(type(module) is was for module in usual.modules())
        left = sum(type(module) is was for module in changed.modules())
        # AlexNet of 2012 and ResNeXt say where there is no norm.
        assert left == 0 or (kind, default) == ("norm", "none"), kind


@pytest.mark.parametrize("name", REDUCED)
def test_what_the_table_does_not_say_is_refused(name: str) -> None:
    """What it does say is trained below."""
    settings, image_size = REDUCED[name]
    for kind, accepted in accepted_by(name).items():
        for part in PARTS[kind].names():
            if part in (*accepted, getattr(MODELS[name].marks, kind)):
                continue
            with pytest.raises(UserError, match=f"model={name} with these settings does not support {kind}={part}"):
                on_meta(name, image_size=image_size, **{kind: part}, **settings)


def test_a_reduced_form_of_every_family_is_tried() -> None:
    def family(name: str) -> object:
        builder = MODELS[name].builder
        return getattr(builder, "func", builder)

    assert {family(name) for name in REDUCED} == {family(name) for name in OWN}


#: Their many layers take a second each time, so that they see every second norm only.
DEEP = ("googlenet", "densenet121", "hrnet_w18", "darknet53", "cspdarknet53")


@cache
def accepted_by(name: str) -> dict[str, list[str]]:
    """The parts that a reduced form accepts, of each kind."""
    settings, image_size = REDUCED[name]
    return supported_parts(name, image_size=image_size, **settings)


def combinations() -> list[tuple[str, int]]:
    """(model, index): as many of each model as there are norms; activations, which are more, go on in the next."""
    return [
        (name, index)
        for name in REDUCED
        for index in range(8 if accepted_by(name) else 1)
        if index % 2 == 0 or name not in DEEP
    ]


def combined(name: str, index: int) -> dict[str, Any]:
    """A part of each kind, with others beside it each time."""
    accepted = ((place, kind, parts) for place, (kind, parts) in enumerate(accepted_by(name).items()) if parts)
    first = 8 * list(REDUCED).index(name)
    chosen = {kind: parts[(first + index + place) % len(parts)] for place, kind, parts in accepted}
    if chosen.get("norm") == "none" and "attention" in chosen:
        chosen["attention"] = "none"  # without norms the softmax of a deep layer's attention is 0 or 1
    return {kind: {"name": part} | LIGHT.get(kind, {}).get(part, {}) for kind, part in chosen.items()}


def made_for(name: str, chosen: dict[str, Any], seed: int) -> nn.Module:
    """A reduced form with parts, of which nothing starts as zero: that would hide what is behind it."""
    settings, image_size = REDUCED[name]
    torch.manual_seed(seed)
    network = build_model(name, num_classes=5, image_size=image_size, in_channels=2, **chosen, **settings)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.uniform_(-0.5, 0.5)
    return network


def step(network: nn.Module, image_size: int) -> set[str]:
    """Train one step; the parameters without a gradient."""
    images, labels = torch.randn(4, 2, image_size, image_size), torch.tensor([0, 1, 2, 3])
    logits, loss = network(images), torch.zeros(())
    if isinstance(logits, WithAuxiliary):
        logits, auxiliary, weight = logits
        loss = weight * sum(build("loss", "cross_entropy")(others, labels) for others in auxiliary)
    assert logits.shape == (4, 5)
    optimizer = build("optimizer", "sgd", lr=0.01)(network.parameters())
    *_, last = network.parameters()
    before = last.detach().clone()
    (loss + build("loss", "cross_entropy")(logits, labels)).backward()
    parameters = dict(network.named_parameters())
    assert [key for key, parameter in parameters.items() if parameter.grad is None] == []
    largest = torch._foreach_norm([parameter.grad for parameter in parameters.values()], ord=float("inf"))
    steepest = dict(zip(parameters, torch.stack(largest).tolist(), strict=True))
    assert [key for key, size in steepest.items() if not isfinite(size)] == []
    optimizer.step()
    assert not torch.equal(before, last)
    return {key for key, size in steepest.items() if size == 0}


def test_every_part_has_its_turn() -> None:
    tried = {(kind, part["name"]) for name, index in combinations() for kind, part in combined(name, index).items()}
    assert tried == {(kind, part) for kind in PARTS if kind != "neck" for part in PARTS[kind].names()}
    norms = {(name, combined(name, index)["norm"]["name"]) for name, index in combinations() if accepted_by(name)}
    shallow = [name for name in REDUCED if name not in DEEP]
    assert norms >= {(name, norm) for name in shallow for norm in accepted_by(name).get("norm", [])}


@pytest.mark.parametrize(("name", "index"), combinations())
def test_one_step_of_training(name: str, index: int) -> None:
    """The right shape, and a gradient for every parameter that is not all zero."""
    image_size, chosen = REDUCED[name][1], combined(name, index)
    try:
        still = step(made_for(name, chosen, 0), image_size)
    except UserError as error:
        assert chosen["norm"]["name"] == "in"
        assert "maps of one pixel" in str(error)
        chosen["norm"] = {"name": "gn"}
        still = step(made_for(name, chosen, 0), image_size)
    for seed in (1, 2, 3):  # a narrow layer of ReLUs may be dead for one draw of its weights
        if still:
            still &= step(made_for(name, chosen, seed), image_size)
    assert not still


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
    with pytest.raises(UserError, match="does not support norm=GroupNorm"):
        build_model("linear", num_classes=2, norm=build("norm", "gn"))


def test_a_model_without_a_place_as_it_is_set_refuses_what_was_asked_for_and_not_its_default() -> None:
    build_model("mlp", num_classes=2, image_size=8, hidden=())
    with pytest.raises(UserError, match="with these settings does not support norm=gn"):
        build_model("mlp", num_classes=2, image_size=8, hidden=(), norm="gn")


def test_an_unused_part_is_refused_even_if_the_registration_promises_it() -> None:
    @MODELS.register("forgetful", source="here", norm="bn")
    def forgetful(*, num_classes: int, parts: object) -> nn.Module:
        """Never asks for a norm."""
        return nn.Linear(1, num_classes)

    try:
        with pytest.raises(UserError, match="model=forgetful with these settings does not support norm=gn"):
            build_model("forgetful", num_classes=2, norm="gn")
    finally:
        del MODELS._own[""]["forgetful"]


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
    with pytest.raises(UserError, match="needs residual branches that end with a norm, and the model has none"):
        build_model("densenet_bc_40_12", num_classes=2, init=init)
    with pytest.raises(UserError, match="needs a norm with a scale"):
        build_model("resnet20", num_classes=2, norm="none", init=init)


def test_dense_forms() -> None:
    """Plain, B, C and BC of DenseNet (k=12, L=40): parameters by the paper's recurrences."""

    def count(**settings: object) -> int:
        return sum(p.numel() for p in build_model("densenet_bc_40_12", num_classes=10, **settings).parameters())

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
        ({"name": "resnet20", "parts": 3}, "has no setting 'parts'"),
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


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("resnet20", {"width": 8, "attention": "se", "norm": "gn"}),
        ("lenet", {"conv": "locally_connected"}),
    ],
)
def test_some_models_learn_digits_by_heart(name: str, chosen: dict) -> None:
    """`scripts/prove_training.py` does it with every entry and real photographs."""
    torch.manual_seed(0)
    digits = Splits.load(compose(["data=digits", "data.limit=96", "data.val_fraction=0.0"])["data"]).train
    images, labels = digits.images[torch.arange(96)].permute(0, 3, 1, 2).float() / 128 - 1, digits.labels
    network = build_model(name, num_classes=10, image_size=8, in_channels=1, **chosen)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        for part in torch.arange(96).chunk(2):
            optimizer.zero_grad()
            build("loss", "cross_entropy")(network.train()(images[part]), labels[part]).backward()
            optimizer.step()
        right = (network.eval()(images).argmax(1) == labels).float().mean().item()
        if right >= 0.95:
            return
    pytest.fail(f"only {right:.1%} of 96 digits after 120 steps")
