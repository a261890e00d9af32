"""Reading of the scalars that a run logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlzoo.core.errors import UserError


def read_metrics(path: Path, *, strict: bool = False) -> list[dict[str, Any]]:
    """Return the records of a metrics.jsonl. The end of a line that a kill cut off is left out.

    Args:
        strict: whether a damaged line is an error; otherwise it is left out too.

    Raises:
        UserError: for a damaged line, with its number.
    """
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    if lines:
        lines.pop()  # empty after a complete line
    try:
        records = json.loads(f"[{','.join(lines)}]")  # takes half the time of parsing each line
    except (ValueError, RecursionError):
        records = [_parse(line) for line in lines]
    if strict and (damaged := [number for number, record in enumerate(records, 1) if not _is_record(record)]):
        raise UserError(f"{path}, line {damaged[0]}: damaged; restore the file, or delete the line to go on without it")
    return [record for record in records if _is_record(record)]


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("step"), int)


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
