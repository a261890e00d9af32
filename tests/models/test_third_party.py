"""Models of timm and torchvision with our parts, and torchvision's weights in ours."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision.models
from torch import nn

from dlzoo.builder.evaluate import evaluate
from dlzoo.builder.model import build_model
from dlzoo.builder.predict import predict
from dlzoo.builder.profile import count_params_and_macs
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.layers.norm import BatchNorm, GroupNorm
from dlzoo.models import pretrained, third_party
from dlzoo.runs.run_dir import RunDir
from tests.small import train

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {"num_classes": 7, "image_size": 64}


def count(network: nn.Module, *kinds: type) -> int:
    return sum(isinstance(module, kinds) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "arch"),
    [("timm", "convnext_atto"), ("timm", "resnet18"), ("torchvision", "resnet18"), ("torchvision", "swin_t")],
)
def test_without_parts_it_is_their_network(name: str, arch: str) -> None:
    torch.manual_seed(0)
    theirs = (
        timm.create_model(arch, num_classes=7)
        if name == "timm"
        else torchvision.models.get_model(arch, weights=None, num_classes=7)
    )
    torch.manual_seed(0)
    ours, x = build_model(name, arch=arch, **SMALL), torch.randn(2, 3, 64, 64)
    assert ours.notes == []
    assert ours.head.weight.shape[0] == 7
    for mode in (False, True):
        torch.manual_seed(1)
        expected = theirs.train(mode)(x)
        torch.manual_seed(1)
        torch.testing.assert_close(ours.train(mode)(x), expected)


@pytest.mark.parametrize(
    ("name", "arch", "norms", "acts"),
    [
        ("timm", "resnet18", 20, 17),
        ("timm", "convnext_atto", None, None),
        ("timm", "efficientnet_b0", 49, 49),
        ("timm", "vit_tiny_patch16_224", 25, 12),
        ("torchvision", "mobilenet_v3_small", 34, None),
        ("torchvision", "shufflenet_v2_x0_5", None, None),
    ],
)
def test_norms_and_activations_are_replaced_and_it_trains(
    name: str, arch: str, norms: int | None, acts: int | None
) -> None:
    usual, changed = build_model(name, arch=arch, **SMALL), build_model(name, arch=arch, norm="gn", act="mish", **SMALL)
    places = count(usual, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    assert count(changed, GroupNorm) == places
    assert count(changed, nn.modules.batchnorm._BatchNorm, nn.LayerNorm) == 0
    assert count(changed, nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish) == 0
    assert norms in (None, places)
    assert acts in (None, count(changed, nn.Mish))
    assert changed.notes[0] == f"norm: {places} replaced"
    changed(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in changed.parameters())


def test_what_could_not_be_replaced_is_said() -> None:
    network = build_model("torchvision", arch="densenet121", act="mish", **SMALL)
    assert network.notes == ["activation: 120 replaced; not replaced: 1 x call of relu"]
    with pytest.raises(
        UserError, match=r"does not support act=mish \(activation: 0 replaced; not replaced: 57 x call of relu"
    ):
        build_model("torchvision", arch="googlenet", act="mish", **SMALL)
    with pytest.raises(UserError, match="does not support norm=gn"):
        build_model("torchvision", arch="alexnet", norm="gn", **SMALL)
    with pytest.raises(UserError, match="does not support attention=se"):
        build_model("timm", arch="resnet18", attention="se", **SMALL)


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("timm", {"arch": "resnet19"}, "timm has no model 'resnet19'; did you mean"),
        ("torchvision", {"arch": "resnet19"}, "torchvision has no classifier 'resnet19'; did you mean"),
        ("torchvision", {"arch": "squeezenet1_0"}, "does not end in a linear layer"),
        ("torchvision", {"arch": "resnet18", "in_channels": 1}, "take images of 3 channels, not 1"),
        ("torchvision", {"arch": "inception_v3", "image_size": 16}, "cannot work on images of 16 px"),
        ("timm", {"arch": "resnet18", "pretrained": True, "norm": "gn"}, "go with the model's own norm"),
    ],
)
def test_refusals_are_one_line(name: str, settings: dict, match: str) -> None:
    with pytest.raises(UserError, match=match) as error:
        build_model(name, **SMALL | settings)
    assert "\n" not in str(error.value)


def test_it_is_built_on_the_meta_device_and_for_other_channels() -> None:
    with torch.device("meta"):
        assert next(build_model("timm", arch="convnext_atto", **SMALL).parameters()).is_meta
    assert build_model("timm", arch="resnet18", in_channels=1, **SMALL)(torch.randn(2, 1, 64, 64)).shape == (2, 7)


def test_a_run_says_what_was_replaced_before_it_trains(capfd: pytest.CaptureFixture) -> None:
    run = train(
        "model=timm", "model.arch=test_resnet", "norm=gn", "data.limit=64", "trainer.max_epochs=1", "trainer=cpu"
    )
    remarks = RunDir.open(run.dir).read()["remarks"]
    assert len(remarks) == 1
    assert remarks[0].startswith("norm: ")


# torchvision's weights in our models


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2", "shufflenet_v2_x0_5", "densenet121"])
def test_pretrained_weights_go_where_they_belong(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With random weights in place of the download, which needs the internet."""
    torch.manual_seed(0)
    extra = {"init_weights": False} if name == "googlenet" else {}
    reference = torchvision.models.get_model(name, weights=None, **extra).eval()
    asked = []
    monkeypatch.setattr(pretrained, "download", lambda counterpart: asked.append(counterpart) or reference)
    ours, x = build_model(name, num_classes=1000, pretrained=True).eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-5, atol=1e-5)
    assert asked == [name]
    other = build_model(name, num_classes=7, pretrained=True).eval()
    own, known = other.state_dict(), ours.state_dict()
    assert [key for key in own if own[key].shape != known[key].shape] == ["head.weight", "head.bias"]
    assert all(torch.equal(own[key], known[key]) for key in own if not key.startswith("head."))
    assert ours.normalisation[0] == ([0.5] * 3 if name == "googlenet" else [0.485, 0.456, 0.406])


def test_the_norm_decides_which_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(counterpart: str) -> nn.Module:
        asked.append(counterpart)
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained, "download", download)
    for norm in ("default", "bn"):
        with pytest.raises(UserError, match=r"could not be downloaded \(no route to host\)"):
            build_model("vgg11", num_classes=2, image_size=32, pretrained=True, norm=norm, head="gap")
    assert asked == ["vgg11", "vgg11_bn"]


@pytest.mark.parametrize(
    ("name", "chosen", "match"),
    [
        ("resnet20", {}, "torchvision has no such model"),
        ("resnet18", {"norm": "gn"}, "there are weights for norm=bn only, not for norm=gn"),
        ("resnet18", {"attention": "se"}, "and nothing else changed"),
        ("resnet18", {"image_size": 32}, "or a model.stem=imagenet"),
        ("resnet18", {"init": "glorot"}, "pretrained weights replace the initialisation"),
        ("resnet18", {"init": {"name": "he", "zero_last_norm": True}}, "pretrained weights replace the initialisation"),
        ("vgg11", {"image_size": 128, "norm": "bn"}, "images of 3 channels and 224 px"),
        ("resnet18", {"width": 32}, "and nothing else changed"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, chosen: dict, match: str
) -> None:
    monkeypatch.setattr(
        pretrained, "download", lambda counterpart: torchvision.models.get_model(counterpart, weights=None)
    )
    with pytest.raises(UserError, match=match) as error:
        build_model(name, num_classes=2, pretrained=True, **chosen)
    assert "\n" not in str(error.value)


def test_a_run_from_pretrained_weights_sees_images_as_they_did(monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    reference = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr(pretrained, "download", lambda counterpart: reference)
    run = train(
        *(
            "model=resnet18",
            "model.stem=imagenet",
            "model.pretrained=true",
            "data=image_folder",
            f"data.root={pictures}",
        ),
        *("data.image_size=32", "data.batch_size=8", "trainer.max_epochs=1", "trainer=cpu", "trainer.limit_batches=1"),
    )
    state = torch.load(run.dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    deviation = 1 / (255 * state["normalise.scale"].ravel())
    torch.testing.assert_close(deviation, torch.tensor([0.229, 0.224, 0.225]))


@pytest.mark.parametrize("norm", ["default", "bn", "sync_bn"])
def test_googlenets_weights_run_with_the_eps_that_they_were_learnt_with(
    monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    reference = torchvision.models.googlenet(weights=None, init_weights=False)
    monkeypatch.setattr(pretrained, "download", lambda counterpart: reference)
    network = build_model("googlenet", num_classes=2, pretrained=True, norm=norm)
    assert {m.eps for m in network.modules() if isinstance(m, BatchNorm)} == {1e-5 if norm == "sync_bn" else 1e-3}


@pytest.mark.parametrize("arch", ["googlenet", "resnet18"])
def test_torchvisions_own_weights_train(monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    extra = {"init_weights": False} if arch == "googlenet" else {}
    get_model = torchvision.models.get_model
    monkeypatch.setattr(third_party, "download", lambda name: get_model(name, weights=None, **extra))
    network = build_model("torchvision", arch=arch, pretrained=True, **SMALL)
    assert network.train()(torch.randn(2, 3, 64, 64)).shape == (2, 7)
    assert network.normalisation is not None
    with pytest.raises(UserError, match="leave init out"):
        build_model("torchvision", arch=arch, pretrained=True, init="he", **SMALL)


def test_a_probe_leaves_the_statistics_of_new_norms_alone() -> None:
    network = build_model("timm", arch="resnet18", norm="bn", act="mish", **SMALL)
    for norm in (module for module in network.modules() if isinstance(module, BatchNorm)):
        assert norm.num_batches_tracked == 0
        assert torch.equal(norm.running_var, torch.ones_like(norm.running_var))
    # One image whose last maps are one pixel is no training batch, and is not taken for one.
    assert build_model("timm", arch="resnet18", norm="bn", act="mish", num_classes=2, image_size=32)


def test_what_is_not_as_in_our_own_models_is_said() -> None:
    note = build_model("timm", arch="resnet18", norm="none", **SMALL).notes[0]
    assert note == "norm: 20 replaced; the layers before them stay without a bias"


@pytest.mark.parametrize(
    "model", [["model=resnet18", "model.stem=imagenet"], ["model=torchvision", "model.arch=resnet18"]]
)
def test_a_run_with_a_checkpoint_needs_no_download(
    monkeypatch: pytest.MonkeyPatch, pictures: Path, model: list[str]
) -> None:
    reference = torchvision.models.get_model
    for module in (pretrained, third_party):
        monkeypatch.setattr(module, "download", lambda name: reference(name, weights=None))
    run = train(
        *(*model, "model.pretrained=true", "data=image_folder", f"data.root={pictures}", "data.image_size=40"),
        *("data.batch_size=8", "trainer.max_epochs=1", "trainer=cpu", "trainer.limit_batches=1"),
    )

    def fail(name: str) -> nn.Module:
        raise OSError("the internet is not there")

    for module in (pretrained, third_party):
        monkeypatch.setattr(module, "download", fail)
    assert evaluate(str(run.dir)) == {k: v for k, v in run.metrics.items() if k.startswith("test/")}
    picture = next((pictures / "test").rglob("*.png"))
    assert predict(str(run.dir), [str(picture)])[0]["classes"]


def test_one_value_per_channel_is_one_line() -> None:
    config = compose(["model=torchvision", "model.arch=resnet18"])
    wiring = {"num_classes": 3, "in_channels": 3, "image_size": 16}
    with pytest.raises(UserError, match=r"model=torchvision cannot train on 1 image\(s\) of 16 px"):
        count_params_and_macs(config, wiring, 1)
