"""Every bad input is one line and exit code 2, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.corpus import words
from tests.corpus.base import furnish
from tests.corpus.case import Case
from tests.corpus.kinds import KINDS
from tests.corpus.runner import judge, run_kinds, snapshot
from tests.processes import REPOSITORY, server

#: Every fourth case that is answered without torch, which takes seconds to import, also has a process of its own; in
#: ordinary tests every third of these.
_REAL = [case for kind in words.WITHOUT_TORCH for case in words.KINDS[kind]][::4]
_PROCESSES = [
    case if number % 3 == 0 else pytest.param(case, marks=pytest.mark.long) for number, case in enumerate(_REAL)
]

#: Kinds that share a child, which needs most of a second for its first config.
_TOGETHER = [list(KINDS)[start : start + 10] for start in range(0, len(KINDS), 10)]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what cases copy (corpus.case); made once for all workers."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the workers' folders are in that of the session
        session = session.parent
    root = session / "corpus"
    root.mkdir(exist_ok=True)
    with FileLock(root / ".lock"):
        if not (root / "interrupted").exists():
            furnish(root)
    return root


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in (1, 2, 3))])
@pytest.mark.parametrize("kinds", _TOGETHER, ids=lambda kinds: kinds[0])
def test_bad_inputs_are_one_line(kinds: list[str], part: int, base: Path, cache_home: Path) -> None:
    """Every fourth case of each kind is an ordinary test."""
    report = Path.cwd() / "report.txt"
    process = server().Process(target=run_kinds, args=(kinds, part, Path.cwd(), base, report))
    process.start()
    process.join(240)
    assert process.exitcode == 0, report.read_text()
    assert report.read_text() == ""


def test_the_corpus_is_large() -> None:
    assert len(KINDS) >= 60 and sum(map(len, KINDS.values())) >= 800
    assert all(5 <= len(cases) <= 20 for cases in KINDS.values())
    assert len(_REAL) >= 40


@pytest.mark.parametrize("case", _PROCESSES, ids=lambda case: str(case.line)[:60])
def test_bad_words_in_a_real_process(case: Case) -> None:
    if any("\0" in word for word in case.words):
        pytest.skip("no process can be given NUL")
    command = [sys.executable, "-m", "dlzoo.cli", *case.words]
    before, variables = snapshot(Path.cwd()), os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=variables, check=False)
    assert judge(case, done.returncode, done.stderr, before, snapshot(Path.cwd())) == ""
