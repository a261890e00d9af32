"""The scalars that a run logged, read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; a line that is damaged, as a kill leaves it, is left out."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    try:
        found = json.loads(f"[{','.join(lines)}]")  # half the time of line by line
    except ValueError:
        found = _one_by_one(lines)
    return [record for record in found if isinstance(record, dict) and isinstance(record.get("step"), int)]


def _one_by_one(lines: Iterable[str]) -> list[Any]:
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
