"""`dlzoo list --parts`: the parts that each model takes, determined by building each on the meta device."""

from __future__ import annotations

from itertools import groupby, takewhile
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from dlzoo.builder.model import supported_parts
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS, PARTS
from dlzoo.core.schema import unwrap


class Row(NamedTuple):
    """Models of one family that take the same parts; a cell is "6/7" (six of seven entries), or "-"."""

    models: str
    cells: tuple[str, ...]


def matrix() -> dict[str, dict[str, list[str]]]:
    """Return model -> kind -> the entries that it takes with its defaults, without models that cannot be built here."""
    supported = {}
    for name in MODELS.names():
        try:
            supported[name] = supported_parts(name)
        except UserError:  # timm is not installed
            continue
    return supported


def rows(supported: dict[str, dict[str, list[str]]]) -> list[Row]:
    """Return the rows of the matrix, grouped by family."""

    def key(name: str) -> tuple[str, tuple[str, ...]]:
        builder = unwrap(MODELS[name].builder)
        module = builder.__module__.rpartition(".")[2]
        return f"{module}.{builder.__name__}", tuple(_cell(supported[name], kind) for kind in PARTS)

    ordered = sorted(supported, key=lambda name: (key(name), _numbers(name)))
    return [Row(_join_names(list(names)), cells) for (_, cells), names in groupby(ordered, key=key)]


def _cell(taken: dict[str, list[str]], kind: str) -> str:
    return f"{len(taken[kind])}/{len(PARTS[kind].names())}" if taken.get(kind) else "-"


def legend(supported: dict[str, dict[str, list[str]]]) -> list[str]:
    """Return lines that name the missing entries of cells such as 6/7."""
    lines = []
    for kind, registry in PARTS.items():
        for taken in sorted({tuple(of_model[kind]) for of_model in supported.values() if of_model.get(kind)}, key=len):
            missing = [name for name in registry.names() if name not in taken]
            if missing:
                few = f"only {', '.join(taken)}" if len(taken) < len(missing) else f"not {', '.join(missing)}"
                lines.append(f"{kind} {len(taken)}/{len(registry.names())}: {few}")
    return lines


def _numbers(name: str) -> tuple[list[int], str]:
    """Return a key that sorts resnet101 after resnet50."""
    words = "".join(c if c.isdigit() else " " for c in name).split()
    return [int(word) for word in words], name


def _join_names(names: list[str]) -> str:
    """Join names with a common beginning: "resnet18, 34, 50" for resnet18, resnet34, resnet50."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    start = "".join(letters[0] for letters in alike).rstrip("0123456789") if len(names) > 1 else ""
    ends = [name.removeprefix(start) for name in names[1:]]
    return ", ".join([names[0], *(end if end[0].isdigit() else start + end for end in ends)])


def show(supported: dict[str, dict[str, list[str]]], console: Console) -> None:
    """Print the matrix as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", *PARTS):
        table.add_column(column, overflow="fold", no_wrap=column != "model")
    for row in rows(supported):
        table.add_row(row.models, *row.cells)
    console.print(table)
    for line in ["", *legend(supported)]:
        console.print(line, soft_wrap=True)


def markdown(supported: dict[str, dict[str, list[str]]]) -> str:
    """Return the matrix as a Markdown table, for the documentation."""
    lines = [f"| model | {' | '.join(PARTS)} |", "|---" * (len(PARTS) + 1) + "|"]
    lines += [f"| {row.models} | {' | '.join(row.cells)} |" for row in rows(supported)]
    return "\n".join([*lines, "", "; ".join(legend(supported)) + "."])
