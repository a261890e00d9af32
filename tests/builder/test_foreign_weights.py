"""Weights of torchvision, timm, MMPretrain, Detectron2 and EfficientNet-PyTorch in our networks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dlzoo.builder.foreign_weights import foreign_names, load_foreign
from dlzoo.builder.model import build_model
from dlzoo.builder.weights import load_state
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.data.transforms.batch import Normalise
from dlzoo.models.pretrained import GOOGLENET, IMAGENET
from dlzoo.runs.run_dir import RunDir
from dlzoo.weights.match import by_name
from tests.box_files import photo
from tests.small import train

#: The larger ones of a family have the same names.
ORDINARY = (
    "alexnet",
    "densenet121",
    "googlenet",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "shufflenet_v2_x0_5",
    "vgg11",
)
COUNTERPARTS = [
    pytest.param(name, norm, counterpart, id=f"{name}-{norm}", marks=() if name in ORDINARY else pytest.mark.long)
    for name in MODELS.names()
    for norm, counterpart in MODELS[name].marks.torchvision.items()
]


def of_torchvision(name: str, **settings: Any) -> nn.Module:
    """With random statistics: those of a new network are all alike."""
    import torchvision.models as zoo

    settings |= {"init_weights": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    network = zoo.get_model(name, weights=None, **settings).eval()
    for key, buffer in network.named_buffers():
        if buffer.is_floating_point() and "running" in key:
            buffer.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize(("name", "norm", "counterpart"), COUNTERPARTS)
def test_every_tensor_of_torchvision_has_its_place(name: str, norm: str, counterpart: str) -> None:
    with torch.device("meta"):
        ours = build_model(name, num_classes=1000, norm=norm)
        theirs = of_torchvision(counterpart).state_dict()
    names = foreign_names(ours, name)
    shapes = {key: value.shape for key, value in ours.state_dict().items()}
    assert {names[key]: value.shape for key, value in theirs.items() if key in names} == shapes
    assert all(key.startswith("aux") for key in theirs.keys() - names.keys())


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5"])
@pytest.mark.parametrize("classes", [1000, 5])
def test_outputs_are_those_of_torchvision(name: str, classes: int) -> None:
    theirs, ours = of_torchvision(name), build_model(name, num_classes=classes).eval()
    match = by_name(theirs.state_dict(), ours, foreign_names(ours, name), "file")
    ours.load_state_dict(match.taken, strict=False)
    images = torch.randn(2, 3, 64, 64)
    assert (match.new, match.left) == ([], []) if classes == 1000 else len(match.new) == len(match.left) == 2
    assert classes != 1000 or torch.equal(ours(images), theirs(images))


def detectron2(key: str) -> str:
    """The names of Detectron2's ResNets, from its documentation of the converted ImageNet models."""
    key = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", key)
    key = key.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    key = re.sub(r"(^|\.)bn(\d)\.", r"\1conv\2.norm.", key)
    return re.sub(r"^conv1\.", "stem.conv1.", key).replace("fc.", "linear.")


def mmpretrain(key: str) -> str:
    return f"head.{key}" if key.startswith("fc.") else f"backbone.{key}"


@pytest.mark.parametrize("rename", [detectron2, mmpretrain, lambda key: f"backbone.bottom_up.{detectron2(key)}"])
def test_resnets_of_other_libraries(rename: Any) -> None:
    theirs, ours = of_torchvision("resnet50"), build_model("resnet50", num_classes=1000)
    state = {rename(key): value for key, value in theirs.state_dict().items() if "num_batches" not in key}
    match = by_name(state, ours, foreign_names(ours, "resnet50"), "file")
    assert (match.new, match.left) == ([], [])
    names = foreign_names(ours, "resnet50")
    assert all(torch.equal(match.taken[names[key]], value) for key, value in theirs.state_dict().items()
               if "num_batches" not in key)  # fmt: skip


def efficientnet_pytorch(state: dict[str, Any]) -> dict[str, str]:
    """Name in timm -> name in EfficientNet-PyTorch: blocks numbered through, parts by what they do."""
    blocks = list(dict.fromkeys(".".join(key.split(".")[1:3]) for key in state if key.startswith("blocks.")))
    separable = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    expanded = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    around = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    names = {}
    for key in state:
        words = key.split(".")
        if words[0] != "blocks":
            names[key] = ".".join([around[words[0]], *words[1:]])
            continue
        block = ".".join(words[1:3])
        parts = expanded if f"blocks.{block}.conv_pwl.weight" in state else separable
        parts = parts | {"se": ""}
        inner = ["_se_reduce" if "reduce" in words[4] else "_se_expand", *words[5:]] if words[3] == "se" else [
            parts[words[3]], *words[4:]]  # fmt: skip
        names[key] = ".".join(["_blocks", str(blocks.index(block)), *inner])
    return names


@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", pytest.param("tf_efficientnet_b0", marks=pytest.mark.long)])
def test_efficientnet_pytorch_in_timms(arch: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model(arch).eval()
    names = efficientnet_pytorch(theirs.state_dict())
    state = {names[key]: value for key, value in theirs.state_dict().items()}
    assert len(state) == len(theirs.state_dict()) and "_blocks.1._expand_conv.weight" in state
    ours = build_model("timm", arch=arch, num_classes=1000, image_size=64).eval()
    match = by_name(state, ours, foreign_names(ours, "timm"), "file")
    ours.load_state_dict(match.taken, strict=False)
    images = torch.randn(1, 3, 64, 64)
    assert (match.new, match.left) == ([], []) and torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_input_channels_give_the_same_for_grey_images(channels: int) -> None:
    theirs, ours = of_torchvision("resnet18"), build_model("resnet18", num_classes=1000, in_channels=channels).eval()
    match = by_name(theirs.state_dict(), ours, foreign_names(ours, "resnet18"), "file")
    assert len(match.adapted) == 1 and (match.new, match.left) == ([], [])
    ours.load_state_dict(match.taken, strict=False)
    grey = torch.randn(1, 1, 64, 64)
    assert torch.allclose(ours(grey.expand(-1, channels, -1, -1)), theirs(grey.expand(-1, 3, -1, -1)), atol=1e-4)


def test_weights_of_another_model_are_refused_with_the_first_differences(tmp_path: Path) -> None:
    config = compose(["model=resnet18"])
    ours, theirs = build_model("resnet18", num_classes=5), of_torchvision("resnet34").state_dict()
    small = {key: value[:3] if value.dim() else value for key, value in of_torchvision("resnet18").state_dict().items()}
    for state in (of_torchvision("shufflenet_v2_x0_5").state_dict(), small):
        with pytest.raises(
            UserError, match=r"weights of another model: \d+ of \d+ tensors before the head fit"
        ) as error:
            load_foreign(state, tmp_path / "w.pth", ours, config, ["a"])
        assert str(error.value).count(" in the model") == 5
    assert ": (3, " in str(error.value) and "absent" not in str(error.value)  # the narrow one has all names
    load_foreign(theirs, tmp_path / "w.pth", ours, config, ["a"])  # a deeper one has all of its tensors


@pytest.mark.parametrize(
    ("model", "known"), [("resnet18", IMAGENET), pytest.param("googlenet", GOOGLENET, marks=pytest.mark.long)]
)
def test_a_run_starts_from_a_file_of_torchvision_and_normalises_as_it_does(
    model: str, known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": of_torchvision(model).state_dict(), "epoch": 90}, "checkpoint.pth")
    for number in range(20):
        photo(Path("photos") / f"class{number % 2}" / f"{number}.png", 64, 64)
    words = ["data=image_folder", "data.root=photos", "data.image_size=64", "augment=none", "data.val_fraction=0",
             "data.limit=4"]  # fmt: skip
    words += [f"model={model}", "model.stem=imagenet", "init_from=checkpoint.pth", "optimizer.lr=1e-30"]
    run = train(*words, "data.batch_size=4", "trainer=debug", "run_dir=run")
    origin = json.loads((run.dir / "run.json").read_text())["init_from"]
    assert origin.startswith("checkpoint.pth: ") and "tensors taken" in origin and "2 new: head" in origin
    state = load_state(RunDir.open(run.dir).selected_checkpoint())
    expected = Normalise(*map(torch.tensor, known)).state_dict()
    assert all(torch.equal(state[f"normalise.{key}"], value) for key, value in expected.items())
