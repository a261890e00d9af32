"""Run the cases of some kinds, one after the other, in a child that was forked after the imports."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType

from dlzoo.cli import main
from tests.corpus.case import Case
from tests.corpus.kinds import KINDS

#: Seconds after which a command counts as one that waits.
_PATIENCE = 10


class _Waited(BaseException):
    """Raised in a command that takes too long."""


def run_kinds(kinds: Sequence[str], part: int, folder: Path, base: Path, report: Path) -> None:
    """Run every fourth case of some kinds, from number `part`, and write what is wrong to `report`.

    Each has an empty folder below `folder`.
    """
    signal.signal(signal.SIGALRM, _interrupt)
    problems = []
    for number, case in enumerate(case for kind in kinds for case in KINDS[kind][part::4]):
        report.write_text(f"{case.words}: the process died")
        place = folder / str(number)
        place.mkdir()
        os.chdir(place)
        if case.make is not None:
            case.make(place, base)
        before = snapshot(place)
        code, errors = _answer(case)
        if problem := judge(case, code, errors, before, snapshot(place)):
            problems.append(problem)
    report.write_text("\n".join(problems))


def _answer(case: Case) -> tuple[int | str, str]:
    """Run the command line of a case; return its exit code, or how it ended, and what it wrote to stderr."""
    errors = sys.stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    signal.alarm(_PATIENCE)
    try:
        code: int | str = main(list(case.words))
    except _Waited:
        code = f"no answer within {_PATIENCE} s"
    except Exception:
        code = traceback.format_exc()
    finally:
        signal.alarm(0)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return code, errors.buffer.getvalue().decode()  # pyright: ignore[reportAttributeAccessIssue]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Waited


def snapshot(folder: Path) -> dict[str, str]:
    """Return path -> content of every file and link, and the folders."""
    content = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file():
            content[name] = os.readlink(path) if path.is_symlink() else "not a file"
        else:
            content[name] = hashlib.sha1(path.read_bytes()).hexdigest()
    return content


def judge(case: Case, code: int | str, errors: str, before: dict[str, str], after: dict[str, str]) -> str:
    """Return what is wrong with the answer to a case; "" if nothing is."""
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    changed = [name for name in changed if not any(fnmatch(name, pattern) for pattern in case.leaves)]
    if changed == ["outputs"]:  # an empty folder
        changed = []
    wrong = []
    if code != 2:
        wrong.append(f"exit {code}")
    lines = errors.splitlines()
    if not lines or not all(line.startswith("dlzoo: ") and len(line) < 800 for line in lines):
        wrong.append("not a line of dlzoo")  # notes may come before the error
    if not lines or case.says not in lines[-1]:
        wrong.append(f"does not say {case.says!r}")
    if changed:
        wrong.append(f"changes {sorted(changed)[:5]}")
    return f"{case.words}: {', '.join(wrong)}: {errors[:600]!r}" if wrong else ""
