"""Print the profile of a model as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from dlzoo.core.console import Console


def show(profile: dict[str, Any], console: Console) -> None:
    """Print a profile: the table of layers, their sum, the reference's numbers and the parts."""
    if not console.is_terminal:  # a pipe has no width
        console = Console(width=200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, justify in [
        *(("layer", "left"), ("what", "left"), ("output", "right"), ("parameters", "right")),
        *(("M MACs", "right"), ("field", "right"), ("MB kept", "right")),
    ]:
        table.add_column(column, justify=justify, no_wrap=column == "layer")  # pyright: ignore[reportArgumentType]
    for layer in profile["layers"]:
        table.add_row(
            *(layer["name"], layer["what"], "x".join(map(str, layer["output"])), f"{layer['params']:,}"),
            *(_format_millions(layer["macs"]), _format_field(layer), _format_millions(layer["memory"])),
        )
    console.print(table)
    console.print()
    for line in summary(profile):
        console.print(line, soft_wrap=True)


def summary(profile: dict[str, Any]) -> Iterable[str]:
    """Yield the lines below the table: the sum, the reference's numbers and the parts."""
    size, classes = profile["image_size"], profile["num_classes"]
    yield (
        f"{size} px, {profile['in_channels']} channels, {classes} classes: {profile['params']:,} parameters,"
        f" {profile['macs'] / 1e6:,.1f} M multiply-accumulates, {profile['memory'] / 1e6:,.1f} MB kept for the backward"
        " pass (per image, float32)"
    )
    fields = [layer for layer in profile["layers"] if layer["field"]]
    if fields:
        widest = max(fields, key=lambda layer: layer["field"])
        yield f"receptive field: {_format_field(widest)} px after {widest['name']} (column field; all: the whole image)"
    if profile["sizes"]:
        sides = ", ".join(f"{before} -> {after}" for before, after in profile["sizes"])
        yield f"valid convolutions, sides of images -> of outputs in px: {sides}"
    reference = profile["reference"]
    if reference:
        macs = "" if reference["macs"] is None else f", {reference['macs']:,} M multiply-accumulates"
        yield f"the reference, with the defaults: {reference['params']:,} parameters{macs}"
    for kind, names in profile["takes"].items():
        yield f"{kind:<10} {', '.join(names) or '(none with these settings)'}"


def _format_millions(number: int) -> str:
    return f"{number / 1e6:,.2f}" if number else ""


def _format_field(layer: dict[str, Any]) -> str:
    """Return "all" or the size of the receptive field, with its coverage if there are gaps."""
    if layer["field"] is None:
        return "all"
    height, width = layer["field"]
    side = str(width) if height == width else f"{height}x{width}"
    return side if layer["coverage"] == 1 else f"{side} ({layer['coverage']:.0%})"
