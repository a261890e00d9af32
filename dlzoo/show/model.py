"""`dlzoo show model`: a network layer by layer, without memory: sizes, costs, and what each layer sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dlzoo import config
from dlzoo.builder.model import accepts
from dlzoo.builder.profile import build_checked
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.registries import PARTS
from dlzoo.layers.convs import LocallyConnected
from dlzoo.layers.head import FullyConnected
from dlzoo.models.reference import SIZES
from dlzoo.show.describe import describe, kernels_of
from dlzoo.show.field import Field, Reach

#: Words of the command that are no settings of a run.
WIRING = ("image_size", "num_classes", "in_channels")

#: Images of the pass: batch norm cannot train on one.
_BATCH = 2


@dataclass
class Layer:
    """A row: a layer of ours, or a module without children of somebody else's.

    Attributes:
        name: its path in the network.
        what: its parts in words.
        output: (C, H, W) or (features,).
        kernels: of its convolutions and poolings.
        params, macs: parameters, and multiply-accumulates of an image.
        memory: bytes that a training step keeps of an image for the backward pass (float32).
        field: pixels of the image that a feature sees, (height, width); None is all of them.
        coverage: the part of these that count, along a row; below 1 dilation leaves gaps.
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
    """What there is to know of a model: its layers, their sum, the reference's numbers, and which parts it takes.

    Args:
        words: image_size=, num_classes=, in_channels= and settings of a run (norm=gn, model.width=32).

    Raises:
        UserError: for a wrong word, or if the model cannot work on such images.
    """
    wiring, settings = _wiring(name, words)
    frozen = config.compose([f"model={name}", *settings])
    if frozen["model"]["name"] != name:
        raise UserError(f"model={frozen['model']['name']}: which model is said already, {name}")
    layers = layers_of(frozen, wiring)
    found: dict[str, Any] = dict(wiring)
    found |= {key: sum(getattr(layer, key) for layer in layers) for key in ("params", "macs", "memory")}
    same = [size for size in SIZES.get(name, []) if (size.image_size, size.num_classes) == tuple(wiring.values())[:2]]
    found["reference"] = same[0]._asdict() if same and wiring["in_channels"] == 3 else None
    knobs = {key: value for key, value in frozen["model"].items() if key not in ("name", "pretrained")}
    found["takes"] = accepts(name, image_size=wiring["image_size"], **knobs)
    found["layers"] = [asdict(layer) for layer in layers]
    return found


def _wiring(name: str, words: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Image size, classes and channels, as they were said or as the model was made for; and the other words."""
    if name in SIZES:
        made_for = SIZES[name][0][:2]
    else:
        knobs = index.knobs("model", name)
        made_for = (224, 1000) if "stem" in knobs or "arch" in knobs else (32, 10)
        made_for = index.marks("task", index.marks("model", name).tasks[0]).example or made_for
    wiring: dict[str, int] = dict(zip(WIRING, (*made_for, 3), strict=True))
    settings = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} is no setting (key=value); {did_you_mean(word, WIRING)}")
        section = key.partition(".")[0]
        if section in ("model", "backbone", "init", *PARTS):
            settings.append(word)
        elif key not in WIRING:
            raise UserError(f"{word!r}: a model is shown with {', '.join(f'{k}=' for k in WIRING)} model.*, and parts;"
                            f" {did_you_mean(key, [*WIRING, *PARTS])}")  # fmt: skip
        elif not value.isdecimal() or int(value) < 1:
            raise UserError(f"{key} must be an integer >= 1, not {value!r}")
        else:
            wiring[key] = int(value)
    return wiring, settings


def layers_of(frozen: dict[str, Any], wiring: dict[str, int]) -> list[Layer]:
    """A row for each layer, in the order in which they are called, from a training step on the meta device.

    Raises:
        UserError: if the model cannot work on such images.
    """
    size, where = wiring["image_size"], f"model={frozen['model']['name']} on images of {wiring['image_size']} px"
    with torch.device("meta"):
        network = build_checked(frozen, wiring).train()
        try:
            return _traced(network, torch.empty(_BATCH, wiring["in_channels"], size, size))
        except RuntimeError as error:
            raise UserError(f"{where}: {first_line(error)}") from error
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def _traced(network: nn.Module, images: Tensor) -> list[Layer]:
    rows: dict[str, Layer] = {}
    reach, counter = Reach(images), FlopCounterMode(display=False)
    running: list[str] = []
    seen: dict[int, Tensor] = {}  # storages that are counted already, and what keeps their number theirs
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}

    def begin(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            running.append(name)
            rows.setdefault(name, Layer(name, describe(module), [], kernels_of(module), params=_params(module)))

        return hook

    def end(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, inputs: Any, output: Any) -> None:
            running.pop()
            if not isinstance(output, Tensor):
                return
            rows[name].output = list(output.shape[1:])
            _see(rows[name], reach.of(output))

        return hook

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own and storage not in seen and running:
            seen[storage] = tensor
            rows[running[-1]].memory += tensor.untyped_storage().nbytes() // _BATCH
        return tensor

    def pass_by(module: LocallyConnected, inputs: Any, output: Tensor) -> None:
        """Its patches are cut out and put together again: what it sees is a convolution's window."""
        reach.set(output, _local(module, reach.of(inputs[0])))

    handles = [m.register_forward_hook(pass_by) for m in network.modules() if isinstance(m, LocallyConnected)]
    for name, module in units(network):
        handles.append(module.register_forward_pre_hook(begin(name, module)))
        # Also where another hook ends the pass, as behind the last feature map of a backbone from elsewhere.
        handles.append(module.register_forward_hook(end(name, module), always_call=True))
    # The image itself is kept by the first layer, and is nobody's activation.
    seen[images.untyped_storage()._cdata] = images
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor), counter, reach:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    root = type(network).__name__
    for path, counts in counter.get_flop_counts().items():
        if path.removeprefix(f"{root}.") in rows and path != root:
            rows[path.removeprefix(f"{root}.")].macs = sum(counts.values()) // 2 // _BATCH
    return list(rows.values())


def units(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """(path, module) of what is one row: layers of dlzoo.layers but for fully connected heads, and other leaves."""
    found: list[tuple[str, nn.Module]] = []

    def visit(path: str, module: nn.Module) -> None:
        children = list(module.named_children())
        ours = type(module).__module__.startswith("dlzoo.layers") and not isinstance(module, FullyConnected)
        if path and (ours or not children):
            if not isinstance(module, nn.Identity):
                found.append((path, module))
            return
        for name, child in children:
            visit(f"{path}.{name}" if path else name, child)

    visit("", network)
    return found


def _local(module: LocallyConnected, field: Field | None) -> Field | None:
    if field is None:
        return None
    window = (module.kernel_size, module.stride, module.zeros // 2)
    return Field(field.height.window(*window), field.width.window(*window))


def _see(layer: Layer, field: Field | None) -> None:
    if field is None:
        layer.field = layer.coverage = None
    else:
        layer.field, layer.coverage = [field.height.span, field.width.span], field.width.coverage


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def show(found: dict[str, Any], console: Console) -> None:
    """Print `profile` as a table, its sum, the reference and the parts."""
    if not console.is_terminal:  # a pipe has no edge
        console = Console(width=200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, justify in [
        *(("layer", "left"), ("what", "left"), ("output", "right"), ("parameters", "right")),
        *(("M MACs", "right"), ("field", "right"), ("MB kept", "right")),
    ]:
        table.add_column(column, justify=justify, no_wrap=column == "layer")  # pyright: ignore[reportArgumentType]
    for layer in found["layers"]:
        table.add_row(
            *(layer["name"], layer["what"], "x".join(map(str, layer["output"])), f"{layer['params']:,}"),
            *(_mega(layer["macs"]), _sees(layer), _mega(layer["memory"])),
        )
    console.print(table)
    console.print()
    for line in summary(found):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def summary(found: dict[str, Any]) -> Iterable[str]:
    """The sum, beside the reference's numbers, and the parts."""
    size, classes = found["image_size"], found["num_classes"]
    yield (
        f"{size} px, {found['in_channels']} channels, {classes} classes: {found['params']:,} parameters,"
        f" {found['macs'] / 1e6:,.1f} M multiply-accumulates, {found['memory'] / 1e6:,.1f} MB kept for the backward"
        " pass (an image, float32)"
    )
    fields = [layer for layer in found["layers"] if layer["field"]]
    if fields:
        widest = max(fields, key=lambda layer: layer["field"])
        yield f"receptive field: {_sees(widest)} px behind {widest['name']} (field, of each layer; all: every pixel)"
    reference = found["reference"]
    if reference:
        macs = "" if reference["macs"] is None else f", {reference['macs']:,} M multiply-accumulates"
        yield f"the reference, with the defaults: {reference['params']:,} parameters{macs}"
    for kind, names in found["takes"].items():
        yield f"{kind:<10} {', '.join(names) or '(nothing, as it is set)'}"


def _mega(number: int) -> str:
    return f"{number / 1e6:,.2f}" if number else ""


def _sees(layer: dict[str, Any]) -> str:
    """ "all", the side of the field, and how much of a row counts if there are gaps."""
    if layer["field"] is None:
        return "all"
    height, width = layer["field"]
    side = str(width) if height == width else f"{height}x{width}"
    return side if layer["coverage"] == 1 else f"{side} ({layer['coverage']:.0%})"
