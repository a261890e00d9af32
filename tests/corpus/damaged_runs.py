"""Run directories that were damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.corpus.case import Case


def of(name: str, change: Callable[[Path], object]) -> Callable[[Path, Path], None]:
    """Copy a run of the base folder and change it."""

    def make(folder: Path, base: Path) -> None:
        shutil.copytree(base / name, folder / "run")
        change(folder / "run")

    return make


def write(file: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda run: (run / file).write_bytes(data)


RECORDS = {"empty": "", "a list": "[]", "cut off": '{"state": "finis', "a word": "null", "bytes": b"\xff\xfe\x00"}

KINDS: dict[str, list[Case]] = {
    "a damaged run.json": [
        Case(f"{command} run", "run.json", of("finished", write("run.json", content)))
        for content in RECORDS.values()
        for command in ("run", "eval")
    ],
}
