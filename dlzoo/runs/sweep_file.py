"""sweep.json, beside the runs of a sweep: the request as typed, for reports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dlzoo.core.files import regular, write_atomically

NAME = "sweep.json"


@dataclass(frozen=True)
class SweepFile:
    """Content of sweep.json.

    Args:
        lines: the commands that made the runs, in order.
        order: setting -> its values, as they were typed.
        baseline, metric, margin: options of the report.
        question, expected: the question of the comparison, and the expected answer.
    """

    lines: list[str] = field(default_factory=list)
    order: dict[str, list[str]] = field(default_factory=dict)
    baseline: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None
    question: str | None = None
    expected: str | None = None


def write(folder: Path, request: SweepFile) -> None:
    """Write a request, merged with those of earlier sweeps in the folder."""
    before = read(folder)
    order = {key: _merge(before.order.get(key, []), request.order.get(key, [])) for key in before.order | request.order}
    current = {key: value for key, value in asdict(request).items() if value not in (None, [])}
    both = asdict(before) | current | {"lines": _merge(before.lines, request.lines), "order": order}
    write_atomically(folder / NAME, json.dumps(both, indent=1) + "\n")


def read(folder: Path) -> SweepFile:
    """Return the request; an empty one if the file is missing or damaged, as reports do not need it."""
    try:
        content = json.loads(regular(folder / NAME).read_text())
        if not _is_valid(content):
            return SweepFile()
    except (OSError, ValueError):
        return SweepFile()
    return SweepFile(**{each.name: content[each.name] for each in fields(SweepFile) if each.name in content})


def _is_valid(content: Any) -> bool:
    """Return whether each field has its type."""

    def is_list_of_str(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(word, str) for word in value)

    if not isinstance(content, dict):
        return False
    order, margin = content.get("order", {}), content.get("margin")
    texts = [content.get(key) for key in ("metric", "question", "expected")]
    return (
        isinstance(order, dict)
        and all(map(is_list_of_str, [*order.values(), content.get("lines", []), content.get("baseline", [])]))
        and all(text is None or isinstance(text, str) for text in texts)
        and (margin is None or isinstance(margin, (int, float)))
    )


def _merge(first: list[str], then: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *then]))
