"""Every bad input is one line and exit code 2, and loses nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from filelock import FileLock

from tests.corpus.base import furnish
from tests.corpus.case import Case
from tests.corpus.kinds import KINDS
from tests.processes import REPOSITORY, Command

#: Seconds after which a command counts as one that waits.
_PATIENCE = 10.0
#: Every so-manieth case that answers without torch is also run in a process of its own.
_REAL = 18


def snapshot(folder: Path) -> dict[str, str]:
    """Path -> content of every file and link, and the folders."""
    content = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file():
            content[name] = os.readlink(path) if path.is_symlink() else "not a file"
        else:
            content[name] = hashlib.sha1(path.read_bytes()).hexdigest()
    return content


def check(case: Case, code: int | None, errors: str, before: dict[str, str]) -> None:
    problem = f"{case.words}: exit {code}, {errors!r}"
    assert code == 2, problem
    assert errors.endswith("\n") and len(errors.splitlines()) == 1 and errors.startswith("dlzoo"), problem
    assert case.says in errors, problem
    assert len(errors) < 2000, problem
    after = snapshot(Path.cwd())
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    changed = [name for name in changed if not any(fnmatch(name, pattern) for pattern in case.leaves)]
    assert not changed, f"{problem}: {changed}"


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what cases copy (corpus.case); made once for all workers."""
    root = tmp_path_factory.getbasetemp().parent / "corpus"
    root.mkdir(exist_ok=True)
    with FileLock(root / ".lock"):
        if not (root / "finished" / "run.json").exists():
            furnish(root)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_bad_inputs_are_one_line(kind: str, base: Path) -> None:
    for number, case in enumerate(KINDS[kind]):
        folder = Path.cwd() / str(number)
        folder.mkdir()
        os.chdir(folder)
        if case.make is not None:
            case.make(folder, base)
        before = snapshot(folder)
        command = Command(*case.words)
        try:
            _, errors = command.communicate(_PATIENCE)
        except subprocess.TimeoutExpired:
            command.kill()
            raise AssertionError(f"{case.words}: waits") from None
        check(case, command.returncode, errors, before)
        os.chdir(folder.parent)
        shutil.rmtree(folder)


def test_the_corpus_is_large() -> None:
    assert len(KINDS) >= 60 and sum(map(len, KINDS.values())) >= 800
    assert all(5 <= len(cases) <= 20 for cases in KINDS.values())


_WITHOUT_FILES = [case for cases in KINDS.values() for case in cases if case.make is None][::_REAL]


@pytest.mark.parametrize("case", _WITHOUT_FILES, ids=lambda case: str(case.line))
def test_bad_words_in_a_real_process(case: Case) -> None:
    before = snapshot(Path.cwd())
    done = subprocess.run(
        [sys.executable, "-m", "dlzoo.cli", *case.words],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    check(case, done.returncode, done.stderr, before)
