"""`dlzoo show model`: the layers of a network on the meta device: sizes, costs and receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dlzoo import config
from dlzoo.builder.model import build_checked, supported_parts
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.protocols import sizes_of
from dlzoo.core.registries import PARTS
from dlzoo.layers.convs import LocallyConnected
from dlzoo.layers.head import FullyConnected
from dlzoo.models.meta import ShapesOnly
from dlzoo.models.reference import SIZES
from dlzoo.show.describe import describe, kernels_of
from dlzoo.show.field import ReceptiveField, ReceptiveFieldTracker

#: Words of the command that are not settings of a run.
WIRING = ("image_size", "num_classes", "in_channels")

#: Images of the forward pass: batch norm cannot train on one.
_BATCH = 2


@dataclass
class Layer:
    """A row of the table: a layer of dlzoo.layers, or another module without children.

    Attributes:
        name: its path in the network.
        what: a description of its parts.
        output: (C, H, W) or (features,).
        kernels: sizes of the kernels of its convolutions and poolings.
        params, macs: parameters, and multiply-accumulates per image.
        memory: bytes per image that a training step keeps for the backward pass (float32).
        field: receptive field in pixels, (height, width); None is the whole image.
        coverage: the fraction of it that a feature depends on, along a row; below 1 dilation leaves gaps.
    """

    name: str
    what: str
    output: list[int]
    kernels: list[list[int]]
    params: int = 0
    macs: int = 0
    memory: int = 0
    field: list[int] | None = None
    coverage: float | None = None


def profile(name: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """Profile a model: its layers, their sum, the reference's numbers, and the parts that it takes.

    Args:
        words: image_size=, num_classes=, in_channels= and settings of a run (norm=gn, model.width=32).

    Raises:
        UserError: for a wrong word, or if the model does not support such images.
    """
    wiring, settings = _wiring(name, words)
    frozen = config.compose([f"model={name}", *settings])
    if frozen["model"]["name"] != name:
        raise UserError(f"model={frozen['model']['name']}: the model is already given, {name}")
    network = _built(frozen, wiring)
    layers = _layers(network, frozen, wiring)
    result: dict[str, Any] = dict(wiring)
    result |= {key: sum(getattr(layer, key) for layer in layers) for key in ("params", "macs", "memory")}
    same = [size for size in SIZES.get(name, []) if (size.image_size, size.num_classes) == tuple(wiring.values())[:2]]
    result["reference"] = same[0]._asdict() if same and wiring["in_channels"] == 3 else None
    settings = {key: value for key, value in frozen["model"].items() if key not in ("name", "pretrained")}
    result["takes"] = supported_parts(name, image_size=wiring["image_size"], **settings)
    result["sizes"] = [list(sides) for sides in sizes_of(network)]
    result["layers"] = [asdict(layer) for layer in layers]
    return result


def _wiring(name: str, words: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Return image size, classes and channels, as given or as the model's defaults, and the other words."""
    if name in SIZES:
        made_for = SIZES[name][0][:2]
    else:
        settings = index.settings("model", name)
        made_for = (224, 1000) if "stem" in settings or "arch" in settings else (32, 10)
        made_for = index.marks("task", index.marks("model", name).tasks[0]).example or made_for
    wiring: dict[str, int] = dict(zip(WIRING, (*made_for, 3), strict=True))
    settings = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} is not a setting (key=value); {did_you_mean(word, WIRING)}")
        section = key.partition(".")[0]
        if section in ("model", "backbone", "init", *PARTS):
            settings.append(word)
        elif key not in WIRING:
            raise UserError(f"{word!r}: `show model` takes {', '.join(f'{k}=' for k in WIRING)}, model.* and parts;"
                            f" {did_you_mean(key, [*WIRING, *PARTS])}")  # fmt: skip
        elif not value.isdecimal() or int(value) < 1:
            raise UserError(f"{key} must be an integer >= 1, not {value!r}")
        else:
            wiring[key] = int(value)
    return wiring, settings


def layers_of(frozen: dict[str, Any], wiring: dict[str, int]) -> list[Layer]:
    """Return one row per layer, in the order of calls, from a training step on the meta device.

    Raises:
        UserError: if the model does not support such images.
    """
    return _layers(_built(frozen, wiring), frozen, wiring)


def _built(frozen: dict[str, Any], wiring: dict[str, int]) -> nn.Module:
    with torch.device("meta"):
        return build_checked(frozen, wiring)


def _layers(network: nn.Module, frozen: dict[str, Any], wiring: dict[str, int]) -> list[Layer]:
    size, where = wiring["image_size"], f"model={frozen['model']['name']} on images of {wiring['image_size']} px"
    with torch.device("meta"):
        network.train()
        try:
            return _trace(network, torch.empty(_BATCH, wiring["in_channels"], size, size))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{where}: {first_line(error)}") from error
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def _trace(network: nn.Module, images: Tensor) -> list[Layer]:
    rows: dict[str, Layer] = {}
    tracker, counter = ReceptiveFieldTracker(images), FlopCounterMode(display=False)
    running: list[str] = []
    # Counted storages -> a tensor that keeps the storage alive. The image, which is kept too, is not an activation.
    seen = {images.untyped_storage()._cdata: images}
    weights = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}

    def begin(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            running.append(name)
            rows.setdefault(name, Layer(name, describe(module), [], kernels_of(module), params=_params(module)))

        return hook

    def end(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, inputs: Any, output: Any) -> None:
            running.pop()
            if isinstance(output, Tensor):
                rows[name].output = list(output.shape[1:])
                _set_field(rows[name], tracker.of(output))

        return hook

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights and storage not in seen and running:
            seen[storage] = tensor
            rows[running[-1]].memory += tensor.untyped_storage().nbytes() // _BATCH
        return tensor

    local = [module for module in network.modules() if isinstance(module, LocallyConnected)]
    handles = [module.register_forward_hook(partial(_set_window_field, tracker)) for module in local]
    for name, module in units(network):
        handles.append(module.register_forward_pre_hook(begin(name, module)))
        # Also where another hook ends the pass, as after the last feature map of a backbone from elsewhere.
        handles.append(module.register_forward_hook(end(name, module), always_call=True))
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor), counter, ShapesOnly(), tracker:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    _count_macs(network, rows, counter)
    return list(rows.values())


def _count_macs(network: nn.Module, rows: dict[str, Layer], counter: FlopCounterMode) -> None:
    root = type(network).__name__
    for path, counts in counter.get_flop_counts().items():
        if path.removeprefix(f"{root}.") in rows and path != root:
            rows[path.removeprefix(f"{root}.")].macs = sum(counts.values()) // 2 // _BATCH


def units(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return (path, module) of each row: layers of dlzoo.layers except fully connected heads, and other leaves."""
    rows: list[tuple[str, nn.Module]] = []

    def visit(path: str, module: nn.Module) -> None:
        children = list(module.named_children())
        ours = type(module).__module__.startswith("dlzoo.layers") and not isinstance(module, FullyConnected)
        if path and (ours or not children):
            if not isinstance(module, nn.Identity):
                rows.append((path, module))
            return
        for name, child in children:
            visit(f"{path}.{name}" if path else name, child)

    visit("", network)
    return rows


def _set_window_field(tracker: ReceptiveFieldTracker, module: LocallyConnected, inputs: Any, output: Tensor) -> None:
    """Set the receptive field to a convolution's window: unfolding into patches hides it."""
    tracker.set(output, _local_field(module, tracker.of(inputs[0])))


def _local_field(module: LocallyConnected, field: ReceptiveField | None) -> ReceptiveField | None:
    if field is None:
        return None
    window = (module.kernel_size, module.stride, module.zeros // 2)
    return ReceptiveField(field.height.window(*window), field.width.window(*window))


def _set_field(layer: Layer, field: ReceptiveField | None) -> None:
    if field is None:
        layer.field = layer.coverage = None
    else:
        layer.field, layer.coverage = [field.height.span, field.width.span], field.width.coverage


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
