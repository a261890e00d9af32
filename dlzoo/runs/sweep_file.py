"""sweep.json, beside the runs of a sweep: what was requested, in words, for whoever looks at the runs afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dlzoo.runs.run_dir import write_atomically

NAME = "sweep.json"


@dataclass(frozen=True)
class SweepFile:
    """What was requested.

    Args:
        lines: the shell lines that made the runs, the first one first.
        order: setting -> its values, as they were typed.
        baseline, metric, margin: how a report is to look at the runs.
        question, expected: what they are about, and what is known of the answer.
    """

    lines: list[str] = field(default_factory=list)
    order: dict[str, list[str]] = field(default_factory=dict)
    baseline: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None
    question: str | None = None
    expected: str | None = None


def write(folder: Path, request: SweepFile) -> None:
    """Write down what is requested now, beside what earlier sweeps requested that have runs in the folder."""
    before = read(folder)
    order = {
        key: _joined(before.order.get(key, []), request.order.get(key, [])) for key in before.order | request.order
    }
    said = {key: value for key, value in asdict(request).items() if value not in (None, [])}
    both = asdict(before) | said | {"lines": _joined(before.lines, request.lines), "order": order}
    write_atomically(folder / NAME, json.dumps(both, indent=1) + "\n")


def read(folder: Path) -> SweepFile:
    """What was requested; nothing where no file is, or none that can be read: the runs speak for themselves."""
    try:
        content = json.loads((folder / NAME).read_text())
        if not _is_whole(content):
            return SweepFile()
    except (OSError, ValueError):
        return SweepFile()
    return SweepFile(**{each.name: content[each.name] for each in fields(SweepFile) if each.name in content})


def _is_whole(content: Any) -> bool:
    """Whether each field is of its type."""

    def words(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(word, str) for word in value)

    if not isinstance(content, dict):
        return False
    order, margin = content.get("order", {}), content.get("margin")
    texts = [content.get(key) for key in ("metric", "question", "expected")]
    return (
        isinstance(order, dict)
        and all(map(words, [*order.values(), content.get("lines", []), content.get("baseline", [])]))
        and all(text is None or isinstance(text, str) for text in texts)
        and (margin is None or isinstance(margin, (int, float)))
    )


def _joined(first: list[str], then: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *then]))
