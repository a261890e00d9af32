"""What was asked for in a sweep, beside its runs: sweep.json, and sweep_log.jsonl for what was added later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.files import regular, write_atomically
from dlzoo.runs.lock import Lock
from dlzoo.runs.run_dir import now

#: Written once, before the first run, and never changed.
NAME = "sweep.json"
#: A line for each later command that asks for something else.
LOG = "sweep_log.jsonl"
#: Locked by the process that writes one of them.
_LOCK = ".sweep.lock"


@dataclass(frozen=True)
class SweepFile:
    """Content of sweep.json, with what sweep_log.jsonl adds.

    Keys that this version does not know are ignored.

    Args:
        lines: the commands that made the runs, in order.
        common: the settings that all runs have in common, as typed; None in a file of a version up to 0.1.
        order: setting that varies -> its values, as they were typed.
        baseline, metric, margin: options of the report.
        question, expected: the question of the comparison, and the expected answer.
    """

    lines: list[str] = field(default_factory=list)
    common: list[str] | None = None
    order: dict[str, list[str]] = field(default_factory=dict)
    baseline: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None
    question: str | None = None
    expected: str | None = None


def write(folder: Path, request: SweepFile) -> None:
    """Write sweep.json, or add a line to sweep_log.jsonl if there is one and the request adds something to both.

    Two processes may do so at the same time, and be killed as they do.

    Raises:
        UserError: if another process holds the lock for seconds.
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not os.path.lexists(folder / NAME):
            content = {key: value for key, value in asdict(request).items() if key == "common" or value != []}
            content = {key: value for key, value in content.items() if value is not None}
            write_atomically(folder / NAME, json.dumps(content, indent=1) + "\n")
            return
        before = read(folder)
        if _merged(before, request) != before:
            later = asdict(request) | {"common": None}
            content = {key: value for key, value in later.items() if value not in (None, [], {})}
            _append(folder / LOG, json.dumps({"time": now(), **content}))


def read(folder: Path) -> SweepFile:
    """Return the request with what was added later; without what is missing or damaged: reports do not need it."""
    try:
        first = _parse(regular(folder / NAME).read_text())
    except OSError:
        first = None
    request = first or SweepFile()
    try:
        log = regular(folder / LOG).read_text(errors="replace").splitlines()
    except OSError:
        log = []
    for line in log:
        if (later := _parse(line)) is not None:
            request = _merged(request, later)
    return request


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if (lock := Lock.on(folder / _LOCK, tries=1000)) is None:
        raise UserError(f"{folder / _LOCK} is held by another process; try again")
    try:
        yield
    finally:
        lock.release()


def _append(path: Path, line: str) -> None:
    """Append a line with a single write; a line that a kill cut off is ended first."""
    with path.open("a+b") as file:
        file.seek(0, os.SEEK_END)
        whole = file.tell() == 0
        if not whole:
            file.seek(-1, os.SEEK_END)
            whole = file.read() == b"\n"
        file.write((b"" if whole else b"\n") + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _parse(text: str) -> SweepFile | None:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not _is_valid(content):
        return None
    return SweepFile(**{each.name: content[each.name] for each in fields(SweepFile) if each.name in content})


def _merged(first: SweepFile, later: SweepFile) -> SweepFile:
    """Return both requests as one: lines and values are added, and the later options count."""
    order = {key: _merge(first.order.get(key, []), later.order.get(key, [])) for key in first.order | later.order}
    current = {key: value for key, value in asdict(later).items() if value not in (None, [])}
    both: dict[str, Any] = asdict(first) | current
    return SweepFile(**(both | {"lines": _merge(first.lines, later.lines), "order": order, "common": first.common}))


def _is_valid(content: Any) -> bool:
    """Return whether each field has its type."""

    def is_list_of_str(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(word, str) for word in value)

    if not isinstance(content, dict):
        return False
    order, margin, common = content.get("order", {}), content.get("margin"), content.get("common")
    texts = [content.get(key) for key in ("metric", "question", "expected")]
    lists = [content.get("lines", []), content.get("baseline", []), [] if common is None else common]
    return (
        isinstance(order, dict)
        and all(map(is_list_of_str, [*order.values(), *lists]))
        and all(text is None or isinstance(text, str) for text in texts)
        and (margin is None or isinstance(margin, (int, float)))
    )


def _merge(first: list[str], then: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *then]))
