"""Reading of the scalars that a run logged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.files import regular

#: Fields of every record, which are not metrics: time is in seconds since 1970.
PLACE = ("step", "epoch", "time")
#: Types of the values of a record.
_NUMBERS = (int, float, type(None))


def read_metrics(path: Path, *, strict: bool = False) -> list[dict[str, Any]]:
    """Return the records of a metrics.jsonl. The end of a line that a kill cut off is left out.

    Args:
        strict: whether a damaged line is an error; otherwise it is left out too.

    Raises:
        UserError: for a damaged line, with its number.
    """
    lines = regular(path).read_text(errors="replace").split("\n") if path.exists() else []
    if lines:
        lines.pop()  # empty after a complete line
    try:
        records = json.loads(f"[{','.join(lines)}]")  # takes half the time of parsing each line
    except (ValueError, RecursionError):
        records = [parse_record(line) for line in lines]
    if strict and (number := _first_damaged(records)):
        raise UserError(f"{path}, line {number}: damaged; restore the file, or delete the line to go on without it")
    return [record for record in records if record is not None and _is_record(record)]


def _first_damaged(records: list[Any]) -> int | None:
    """Return the number of the first line that is no record, or is of an earlier step than the line before."""
    step = 0
    for number, record in enumerate(records, 1):
        if not _is_record(record) or record["step"] < step:
            return number
        step = record["step"]
    return None


def _is_record(value: Any) -> bool:
    """Return whether a line is a record: a step, an epoch, and numbers or nulls by name."""
    if not isinstance(value, dict) or type(value.get("step")) is not int:
        return False
    return type(value.get("epoch")) in (int, float) and all(type(item) in _NUMBERS for item in value.values())


def parse_record(line: str) -> dict[str, Any] | None:
    """Return the record of a line; None if the line is damaged."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if _is_record(value) else None


def metrics_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has beside its step, epoch and time: metric -> value, None if it was not finite."""
    return {name: value for name, value in record.items() if name not in PLACE}
