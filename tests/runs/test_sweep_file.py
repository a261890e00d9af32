"""sweep.json is written once, and sweep_log.jsonl appended, by any number of processes."""

from __future__ import annotations

import json
from multiprocessing import get_context
from pathlib import Path

import pytest

from dlzoo.runs import sweep_file
from dlzoo.runs.sweep_file import SweepFile


def test_the_first_request_stays_and_later_ones_are_added(tmp_path: Path) -> None:
    first = SweepFile(["one"], ["data=digits"], {"norm": ["bn", "gn"]}, metric="accuracy", question="Is it?")
    sweep_file.write(tmp_path, first)
    content = (tmp_path / "sweep.json").read_text()
    assert sweep_file.read(tmp_path) == first
    sweep_file.write(tmp_path, first)
    assert not (tmp_path / "sweep_log.jsonl").exists()
    sweep_file.write(tmp_path, SweepFile(["two"], ["data=digits"], {"norm": ["gn", "ln"], "act": ["elu"]}, margin=0.0))
    assert (tmp_path / "sweep.json").read_text() == content
    assert sweep_file.read(tmp_path) == SweepFile(
        ["one", "two"],
        ["data=digits"],
        {"norm": ["bn", "gn", "ln"], "act": ["elu"]},
        metric="accuracy",
        margin=0.0,
        question="Is it?",
    )


def test_a_line_that_a_kill_cut_off_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        sweep_file.write(tmp_path, SweepFile([name]))
    log = tmp_path / "sweep_log.jsonl"
    log.write_bytes(log.read_bytes()[:-9])
    assert sweep_file.read(tmp_path).lines == ["one", "two"]
    sweep_file.write(tmp_path, SweepFile(["three"]))
    assert sweep_file.read(tmp_path).lines == ["one", "two", "three"]
    log.write_bytes(log.read_bytes() + b"\xff{[3]\n")
    assert sweep_file.read(tmp_path).lines == ["one", "two", "three"]


@pytest.mark.parametrize("content", ['{"lines": ["old"], "order": {"norm": ["bn"]}, "baseline": ["norm=bn"]}', "{"])
def test_a_file_of_an_older_version_and_a_damaged_one_are_not_changed(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    old = sweep_file.read(tmp_path)
    sweep_file.write(tmp_path, SweepFile(["new"], ["data=digits"], {"norm": ["gn"]}))
    assert (tmp_path / "sweep.json").read_text() == content
    both = sweep_file.read(tmp_path)
    assert (both.common, both.lines, both.baseline) == (None, [*old.lines, "new"], old.baseline)


def _write(folder: Path, name: str) -> None:
    for number in range(20):
        sweep_file.write(folder, SweepFile([f"{name}{number}"], ["data=digits"]))


def test_several_processes_lose_nothing(tmp_path: Path) -> None:
    fork = get_context("fork")
    writers = [fork.Process(target=_write, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (tmp_path / "sweep_log.jsonl").read_text().splitlines()
    assert len(lines) == 59
    assert all(json.loads(line)["time"] for line in lines)
    assert len(set(sweep_file.read(tmp_path).lines)) == 60
