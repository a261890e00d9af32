"""`dlzoo.runs`, `dlzoo.compare` and `dlzoo.report`: numbers of many runs for a script, and tables for a notebook."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

import dlzoo
from dlzoo.cli import main
from dlzoo.runs.run_dir import RunDir
from tests.processes import start_here
from tests.small import SMALL

WORDS = [*SMALL[:1], "data.limit=60", "data.batch_size=20", "trainer.max_epochs=1", "trainer=cpu", "name=widths"]
ARMS = "model.hidden=[8],[16]"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the comparison was run."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("dlzoo.builder.results.draw", lambda *made: {})
        patch.setattr("dlzoo.sweep.executors.local.LocalExecutor.start", start_here)
        dlzoo.compare([*WORDS, ARMS, "seeds=2"], quiet=True)
    return folder


@pytest.fixture
def swept(executed: Path) -> dlzoo.Report:
    """The same call again, of which all runs are finished, in a copy of that folder."""
    shutil.copytree(executed / "outputs", "outputs")
    return dlzoo.compare([*WORDS, ARMS, "seeds=2"], quiet=True)


def test_a_comparison_returns_the_numbers_of_its_report(
    swept: dlzoo.Report, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swept.path == Path("outputs/widths/report/report.html")
    assert swept.path.is_file()
    written = json.loads(swept.path.with_name("report.json").read_text())
    assert swept.as_dict() == written
    accuracy = {run.dir.name: run.metrics["test/accuracy"] for run in swept.runs}
    assert sorted(accuracy.values()) == sorted(value for arm in swept.arms for value in arm.values.values())
    for arm in swept.arms:
        assert arm.mean == pytest.approx(sum(arm.values.values()) / 2)
        assert arm.interval is None or arm.interval.low <= arm.mean <= arm.interval.high
    (comparison,) = swept.comparisons
    assert comparison.effect.difference == pytest.approx(
        {arm.label: arm.mean for arm in swept.arms}[comparison.label]
        - {arm.label: arm.mean for arm in swept.arms}[comparison.baseline]
    )
    assert swept.verdict == comparison.verdict
    assert swept.metric.key == "test/accuracy"
    assert main(["report", "outputs/widths"]) == 0
    assert capsys.readouterr().out.strip() == repr(swept).strip()
    other = dlzoo.report("outputs/widths", metric="loss", margin=0.5, out="elsewhere")
    assert (other.metric.key, other.metric.higher_is_better) == ("test/loss", False)
    assert other.content.margin == 0.5
    assert Path("elsewhere/report.md").is_file()


def test_a_report_shows_itself_without_other_files(swept: dlzoo.Report) -> None:
    shown = swept._repr_html_()
    assert len(shown) < 20_000
    assert "test accuracy" in shown
    assert shown.count("<table>") == 2
    assert all(word not in shown for word in ("http", "<script", "<style", "src="))


def test_a_table_of_runs_is_sorted_by_a_metric(swept: dlzoo.Report) -> None:
    table = dlzoo.runs("outputs")
    assert len(table) == len(list(table)) == 4
    assert all(isinstance(run, dlzoo.Run) for run in table)
    assert [run.dir for run in table[1:3]] == [table[1].dir, table[2].dir]
    for metric, reverse in (("test/accuracy", True), ("test/loss", False)):
        values = [run.metrics[metric] for run in table.sort(metric)]
        assert values == sorted(values, reverse=reverse)
        worst = [run.metrics[metric] for run in table.sort(metric, best_first=False)]
        assert worst == sorted(values, reverse=not reverse)
    row = table.sort("test/accuracy").rows[0]
    assert row.keys() >= {"run", "state", "seed", "model.hidden", "test/accuracy"}
    assert "4 runs: 4 finished" in repr(table)
    assert table._repr_html_().count("<tr>") == 5
    with pytest.raises(dlzoo.UserError, match=r"no run has measured 'test/acuracy'; did you mean 'test/accuracy'"):
        table.sort("test/acuracy")


def test_runs_without_results_are_last_in_a_sorted_table(swept: dlzoo.Report) -> None:
    RunDir.create(Path("outputs/widths/unfinished"), RunDir.open(swept.runs[0].dir).read()["config"])
    Path("outputs/widths/damaged").mkdir()
    for name in ("run.json", "config.yaml"):
        Path("outputs/widths/damaged", name).write_text("{")
    table = dlzoo.runs("outputs").sort("test/accuracy")
    assert {row["state"] for row in table.rows[-2:]} == {"created", "damaged"}
    assert "damaged" in table._repr_html_()
    assert math.isnan(table.rows[0].get("nothing", math.nan))


def test_a_table_becomes_a_frame(swept: dlzoo.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "pandas", None)
        with pytest.raises(dlzoo.UserError, match="pip install pandas"):
            swept.runs.to_pandas()
    pandas = pytest.importorskip("pandas")
    frame = swept.runs.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 4
    assert set(frame["state"]) == {"finished"}


def test_what_cannot_be_reported_is_one_line(swept: dlzoo.Report) -> None:
    Path("empty").mkdir()
    assert len(dlzoo.runs("empty")) == 0
    assert (repr(dlzoo.runs("empty")), dlzoo.runs("empty")._repr_html_()) == ("0 runs", "<p>0 runs</p>")
    with pytest.raises(dlzoo.UserError, match="nowhere: folder not found"):
        dlzoo.runs("nowhere")
    with pytest.raises(dlzoo.UserError, match="empty: no run is finished"):
        dlzoo.report("empty")
    with pytest.raises(dlzoo.UserError, match="--margin -1"):
        dlzoo.report("outputs/widths", margin=-1)
    with pytest.raises(dlzoo.UserError, match=r"sweep\.dry_run=true: no run was started"):
        dlzoo.compare([*WORDS, ARMS, "seeds=2", "sweep.dry_run=true"], quiet=True)
    alone = dlzoo.report(swept.runs[0].dir, out="alone")
    with pytest.raises(dlzoo.UserError, match=r"the report has 0 comparisons, .* report\.answer says why"):
        _ = alone.verdict
