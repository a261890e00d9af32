"""Write the tables of docs/ that list the entries of the registries.

    python scripts/doc_tables.py

Each goes between the lines `<!-- table: NAME -->` and `<!-- end of table -->` of a page. Run this script after
an entry was added or renamed, or its settings have changed; a test compares the tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dlzoo import config
from dlzoo.core import index
from dlzoo.show import parts

PAGES = Path(__file__).parents[1] / "docs"

_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
#: A word in Hydra's grammar, and words that it parses as other values.
_WORD, _NOT_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*"), ("null", "true", "false", "nan", "inf")
#: Choices whose names have their own tables; for these the table of names gives only their number.
_COUNTED = {"model": "see the table below", "backbone": "each classifier that has convolutions and a head"}


def choice_names() -> str:
    """Return the table of choices and their names."""
    rows = []
    for choice in config.choices():
        names = [name for name in config.options(choice) if name != "default"]
        words = f"{len(names)} names: {_COUNTED[choice]}" if choice in _COUNTED else ", ".join(names)
        rows.append((f"`{choice}`", words))
    return table(("choice", "names"), rows)


def part_support() -> str:
    """Return the parts that each model takes, as `dlzoo list --parts` does. Building every model takes ten seconds."""
    return parts.markdown(parts.matrix())


def part_settings() -> str:
    """Return the table of the settings and sources of every part."""
    kinds = ("norm", "act", "conv", "attention", "pool", "drop", "head", "upsample", "neck", "init")
    return settings_table(kinds)


def visible(choice: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, entry) of the entries of a choice that lists show, sorted."""
    return [(name, index.entries(choice)[name]) for name in index.available(choice)]


def losses() -> str:
    """Return the table of losses, with the targets that each takes."""
    rows = [
        (f"`{name}`", ", ".join(index.marks("loss", name).targets), settings("loss", entry), entry["source"])
        for name, entry in sorted(index.entries("loss").items())
    ]
    return table(("loss", "targets", "settings", "source"), rows)


def data_sets() -> str:
    """Return the table of data sets, with the defaults that each changes."""
    rows = []
    for name, entry in visible("data"):
        meta = entry["meta"]
        defaults = " ".join(f"{choice}={meta[choice]}" for choice in ("model", "loss", "augment") if choice in meta)
        rows.append((f"`{name}`", f"`{defaults}`" if defaults else "", settings("data", entry), entry["source"]))
    return table(("data", "defaults", "settings", "source"), rows)


def settings_table(choices: Sequence[str]) -> str:
    """Return the table of name, settings and source of every entry of some choices."""
    rows = [
        (f"`{choice}={name}`", settings(choice, entry), entry["source"])
        for choice in choices
        for name, entry in visible(choice)
    ]
    return table(("entry", "settings", "source"), rows)


def settings(choice: str, entry: dict[str, Any]) -> str:
    """Return the settings of an entry with their defaults, as they are typed."""
    return ", ".join(f"`{choice}.{name}={_typed(schema['default'])}`" for name, schema in entry["settings"].items())


def _typed(value: Any) -> str:
    """Return a value as it is typed; words that would be parsed as another type are quoted."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if not isinstance(value, str) or (_WORD.fullmatch(value) and value.lower() not in _NOT_WORDS):
        return json.dumps(value).strip('"')
    return json.dumps(value)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside a cell are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def detectors() -> str:
    """Return the table of detectors, with their default backbone, neck, losses and suppression."""
    choices = ("backbone", "neck", "loss", "box_loss", "nms")
    rows = [
        (f"`{name}`", *(_name(choice, entry["meta"][choice]) for choice in choices), entry["source"])
        for name, entry in visible("model")
        if "detect" in entry["meta"].get("tasks", ())
    ]
    return table(("model", *choices, "source"), rows)


def _name(choice: str, known: Any) -> str:
    """Return the entry that a registration names, with the settings that it changes."""
    if isinstance(known, str):
        return f"`{known}`"
    changed = ", ".join(f"`{choice}.{key}={_typed(value)}`" for key, value in known.items() if key != "name")
    return f"`{known['name']}` ({changed})"


TABLES: dict[str, Callable[[], str]] = {
    "names": choice_names,
    "part_support": part_support,
    "part_settings": part_settings,
    "losses": losses,
    "optimizers": lambda: settings_table(["optimizer"]),
    "schedules": lambda: settings_table(["schedule"]),
    "augmentations": lambda: settings_table(["augment"]),
    "suppressors": lambda: settings_table(["nms"]),
    "detectors": detectors,
    "data_sets": data_sets,
}


def blocks(text: str) -> dict[str, str]:
    """Return table name -> the text of a page between its markers."""
    return {match[2]: match[0][len(match[1]) : -len(match[3])].strip("\n") for match in _BLOCK.finditer(text)}


def written(text: str) -> str:
    """Return a page with up-to-date tables."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}", text)


def main() -> None:
    """Write every page that has tables."""
    for page in sorted(PAGES.glob("*.md")):
        before = page.read_text()
        if _BLOCK.search(before):
            page.write_text(written(before))
            print(f"{page.name}: {', '.join(blocks(before))}")


if __name__ == "__main__":
    main()
