"""A run.json that was edited or damaged is named in one line, and breaks nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlzoo.cli import main
from dlzoo.runs.record import check_record
from tests.small import SMALL, train

CHANGES: list[dict[str, Any]] = [
    *({"metrics": value} for value in (None, [], 3, "none", {"test/accuracy": "high"}, {"test/accuracy": [1]})),
    *({"state": value} for value in (None, "done", 3, [], "damaged")),
    *({"finished": value} for value in ("2026-01-01T00:00:00", "yesterday", 3, None)),
    *({"created": value} for value in ("2026-01-01", "", [])),
    *({"threads": value} for value in (10**9, 0, -1, "2", 1.5, True)),
    *({"config": value} for value in (None, [], "x", 3, {"trainer": 3}, {"trainer": {}, "model": "mlp"})),
    *({"config": {"trainer": {}, "data": value}} for value in ({}, {"name": []}, {"name": "digits", "limit": {}})),
    *({"config": {"trainer": value}} for value in ({"ema": {"a": 1}}, {"select": [None, {}]})),
    *({"paths": value} for value in (3, ["p"], {"data.root": 3})),
    *({"classes": value} for value in ("abc", [1, 2], {"a": 1})),
    *({"monitor": value} for value in (None, 3, ["accuracy"])),
    *({"steps_per_epoch": value} for value in ("5", -1, 2.5, [5])),
    *({"data_sizes": value} for value in (None, {"train": "many"}, [3], {"train": -1})),
    *({"error": value} for value in (3, ["x"], {})),
    *({"pictures": value} for value in ("curves", [1])),
    *({"remarks": value} for value in (None, 3)),
    *({"result_notes": value} for value in (None, ["learned_nothing"], {"learned_nothing": True})),
    *({"validated": value} for value in (-1, "144")),
    *({"ranks": value} for value in (0, "two", 10**6)),
    *({"wall_seconds": value} for value in ("long", [])),
    *({"task": value} for value in (3, None)),
]
#: Those after which a report is written: it takes most of a second, and leaves out all damaged runs alike.
REPORTED = CHANGES[::10]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("good", "odd"):
        train(*SMALL[2:], "model=linear", "trainer.max_epochs=1", f"run_dir={folder / name}")
    return folder


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_an_odd_record_is_one_line_and_the_other_runs_are_shown(
    change: dict[str, Any], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = runs / "odd" / "run.json"
    before = file.read_text()
    try:
        file.write_text(json.dumps(json.loads(before) | change))
        (name,) = change
        for words in (
            ["eval", f"run={runs / 'odd'}"],
            ["run", str(runs / "odd")],
            ["predict", f"run={runs / 'odd'}", "x"],
        ):
            capsys.readouterr()
            assert main(words) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert str(file) in line and name in line, line
        assert main(["runs", str(runs)]) == 0
        printed = capsys.readouterr().out
        assert "damaged" in printed and "finished" in printed and name in printed
        if change in REPORTED:
            assert main(["report", str(runs), "--out", "page"]) == 0  # of the good one
    finally:
        file.write_text(before)


def test_the_records_of_this_version_pass() -> None:
    run = train(*SMALL, "trainer.max_epochs=1")
    record = json.loads((run.dir / "run.json").read_text())
    check_record(record)
    with pytest.raises(ValueError, match="config is missing"):
        check_record({"state": "created"})
    with pytest.raises(ValueError, match="must be an object, not \\[1, 2\\]"):
        check_record([1, 2])
    check_record(record | {"of_a_later_version": object()})
