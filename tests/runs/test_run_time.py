"""The time of a run, and how busy other processes were meanwhile."""

import time
from pathlib import Path

import pytest

from dlzoo.runs import run_time
from dlzoo.runs.run_time import RunTime


def stat(file: Path, busy: int, processors: int = 2) -> Path:
    """Write a file like /proc/stat: `busy` ticks of all processors together, a third of them of the system."""
    line = f"{busy - busy // 3} 0 {busy // 3} 123456 99 0 0 0 50 0"
    file.write_text("\n".join([f"cpu  {line}", *(f"cpu{place} {line}" for place in range(processors)), "intr 1 2"]))
    return file


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The wall time and this process's own processor time, which tests set."""
    at = {"wall": 1000.0, "own": 50.0}
    monkeypatch.setattr(run_time, "perf_counter", lambda: at["wall"])
    monkeypatch.setattr(run_time, "_own_seconds", lambda: at["own"])
    monkeypatch.setattr(run_time.os, "sysconf", lambda _: 100)
    return at


@pytest.mark.parametrize(
    ("busy", "own", "ranks", "others"),
    [
        (10.0, 10.0, 1, 0.0),  # all of it was ours
        (15.0, 10.0, 1, 0.25),  # half of one of two processors
        (20.0, 0.0, 1, 1.0),
        (20.0, 10.0, 2, 0.0),  # the other half was of the other rank
        (5.0, 10.0, 1, 0.0),  # never below 0
    ],
)
def test_the_share_of_others(
    tmp_path: Path, clock: dict[str, float], busy: float, own: float, ranks: int, others: float
) -> None:
    timed = RunTime({}, ranks, stat(tmp_path / "stat", 30_000))
    stat(tmp_path / "stat", 30_000 + round(100 * busy))
    clock["wall"] += 10
    clock["own"] += own
    assert timed.fields() == {"wall_seconds": 10.0, "others_busy": pytest.approx(others)}


def test_a_resumed_run_goes_on_counting(tmp_path: Path, clock: dict[str, float]) -> None:
    def fields(before: dict[str, float]) -> dict[str, float | None]:
        timed = RunTime(before, 1, stat(tmp_path / "stat", 30_000))
        stat(tmp_path / "stat", 30_000 + 1000)  # half of the machine for 10 seconds
        clock["wall"] += 10
        return timed.fields()

    assert fields({"wall_seconds": 30.0, "others_busy": 0.1}) == {"wall_seconds": 40.0, "others_busy": 0.2}
    assert fields({"wall_seconds": 30.0}) == {"wall_seconds": 40.0, "others_busy": None}  # of an older dlzoo


@pytest.mark.parametrize("content", [None, "", "cpu 1 2", "cpu a b", "intr 5\nctxt 7"])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, clock: dict[str, float], content: str | None) -> None:
    if content is not None:
        (tmp_path / "stat").write_text(content)
    timed = RunTime({}, 1, tmp_path / "stat")
    clock["wall"] += 10
    assert timed.fields() == {"wall_seconds": 10.0, "others_busy": None}


def test_this_machine_is_measured() -> None:
    timed = RunTime({})
    time.sleep(0.05)
    others = timed.fields()["others_busy"]
    assert others is None or 0 <= others <= 1
