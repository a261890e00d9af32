"""Models of timm and torchvision, with our norms and activations in the places of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.registries import MODELS
from dlzoo.layers.parts import Parts
from dlzoo.layers.replace import replace_parts
from dlzoo.models.pretrained import Normalisation, download


class ThirdParty(nn.Module):
    """Somebody else's network, its last linear layer taken out: (N, in_channels, H, W) -> (N, num_classes).

    `head_path` is the place in the network that its last layer had. `notes` says what of the chosen parts went where.
    `usual_normalisation` is the mean and the deviation of a channel that its pretrained weights expect, for images
    between 0 and 1, and `normalisation` is the same if it has them.
    """

    def __init__(self, body: nn.Module, head: nn.Module, head_path: str, notes: list[str]) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.head_path, self.notes = head_path, notes
        self.normalisation: Normalisation | None = None
        self.usual_normalisation: Normalisation | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@MODELS.register(
    "timm", source="https://github.com/huggingface/pytorch-image-models", norm="default", act="default", init="torch"
)
def from_timm(
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    arch: str = "resnet50",
    pretrained: bool = False,
) -> nn.Module:
    """Any classifier of timm, by its name there: model.arch=convnext_tiny. Needs pip install 'dlzoo[timm]'"""
    try:
        import timm
    except ImportError as error:
        raise UserError("model=timm needs timm: pip install 'dlzoo[timm]'") from error
    if not timm.is_model(arch):
        raise UserError(f"timm has no model {arch!r}; {did_you_mean(arch, timm.list_models())}")
    config = timm.get_pretrained_cfg(arch)
    sized: dict[str, Any] = {"img_size": image_size} if config is not None and config.fixed_input_size else {}

    def make() -> nn.Module:
        return timm.create_model(
            arch, pretrained=pretrained and _needs_weights(), num_classes=num_classes, in_chans=in_channels, **sized
        )

    network = _adopt(make, f"model=timm model.arch={arch}", in_channels, image_size, num_classes, parts, pretrained)
    if config is not None:
        network.usual_normalisation = list(config.mean), list(config.std)
    network.normalisation = network.usual_normalisation if pretrained else None
    return network


@MODELS.register(
    "torchvision",
    source="https://docs.pytorch.org/vision/stable/models.html",
    norm="default",
    act="default",
    init="torch",
)
def from_torchvision(
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    arch: str = "resnet50",
    pretrained: bool = False,
) -> nn.Module:
    """Any classifier of torchvision, by its name there: model.arch=efficientnet_b0"""
    import torchvision.models as zoo

    names = zoo.list_models(module=zoo)
    if arch not in names:
        raise UserError(f"torchvision has no classifier {arch!r}; {did_you_mean(arch, names)}")
    if in_channels != 3:
        raise UserError(f"torchvision's models take images of 3 channels, not {in_channels}; model=timm takes any")
    settings: dict[str, Any] = {"image_size": image_size} if arch.startswith("vit_") and not pretrained else {}
    has_auxiliary = arch in ("googlenet", "inception_v3")
    if has_auxiliary and not (pretrained and _needs_weights()):
        settings |= {"aux_logits": False, "init_weights": False}

    def make() -> nn.Module:
        if not (pretrained and _needs_weights()):
            return zoo.get_model(arch, weights=None, num_classes=num_classes, **settings)
        network: Any = download(arch)
        if has_auxiliary:  # the weights come with auxiliary classifiers
            network.aux_logits = False
            for name in ("aux1", "aux2", "AuxLogits"):
                if hasattr(network, name):
                    setattr(network, name, None)
        return network

    network = _adopt(make, f"model=torchvision model.arch={arch}", 3, image_size, num_classes, parts, pretrained)
    weights: Any = zoo.get_model_weights(arch)
    transform = weights.DEFAULT.transforms()
    network.usual_normalisation = list(transform.mean), list(transform.std)
    network.normalisation = network.usual_normalisation if pretrained else None
    return network


def _needs_weights() -> bool:
    """Return whether weights are needed: on the meta device only their shapes are."""
    return torch.get_default_device().type != "meta"


def _adopt(
    make: Callable[[], nn.Module],
    where: str,
    in_channels: int,
    image_size: int,
    num_classes: int,
    parts: Parts,
    pretrained: bool,
) -> ThirdParty:
    """Build the network on the CPU, take its head, put the parts in, and move it to the current default device.

    Raises:
        UserError: if it cannot be built or downloaded, cannot work on such images, or does not end in a linear layer.
    """
    if pretrained and parts.chosen("norm"):
        raise UserError(f"{where}: pretrained weights go with the model's own norm; leave norm out")
    device = torch.get_default_device()
    with torch.device("cpu"):  # not every model can be built on the meta device
        try:
            network = make().eval()
            images = torch.zeros(1, in_channels, image_size, image_size)
            path, last = _last_linear(network, images)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        except Exception as error:
            reason = "its weights could not be loaded" if pretrained else f"cannot work on images of {image_size} px"
            raise UserError(f"{where}: {reason} ({first_line(error)})") from error
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, nn.Identity())
        if last.out_features != num_classes:
            last = nn.Linear(last.in_features, num_classes)
        with torch.no_grad():
            notes = replace_parts(network, parts, lambda: network.eval()(images))
    return ThirdParty(network.train(), last, path, notes).to(device)


def _last_linear(network: nn.Module, images: Tensor) -> tuple[str, nn.Linear]:
    """Return (path, module) of the linear layer whose output is the network's.

    Raises:
        UserError: if there is none.
    """
    producers: dict[int, tuple[str, nn.Linear]] = {}
    outputs = []  # kept alive: an id is a tensor's own only as long as it lives

    def note(path: str, module: nn.Linear) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            producers[id(output)] = path, module
            outputs.append(output)

        return hook

    linears = [(path, module) for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(note(path, module)) for path, module in linears]
    with torch.no_grad():
        logits = network(images)
    for handle in handles:
        handle.remove()
    if id(logits) not in producers:
        raise UserError("it does not end in a linear layer that makes its logits")
    return producers[id(logits)]
