"""`dlzoo report`: its options, its files, and what it refuses."""

import json

import pytest

from dlzoo.cli import main
from tests.fake_runs import write_sweep

NORMS = [["norm=bn"], ["norm=gn"]]
SEEDS = range(8)


def accuracy(config, seed):
    return 0.7 + 0.01 * (seed % 3) + (0.05 + 0.002 * seed) * (config["norm"]["name"] == "gn")


def test_the_folder_that_one_is_in(tmp_path, monkeypatch, capsys):
    write_sweep(tmp_path / "here", NORMS, range(2), accuracy)
    monkeypatch.chdir(tmp_path / "here")
    assert main(["report", "."]) == 0
    assert "here_again" in (tmp_path / "here" / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "folder not found"),
        (["."], "no run is finished"),
        (["runs", "--metric", "test/acuracy"], "did you mean"),
        (["runs", "--margin", "wide"], "--margin wide"),
        (["runs", "--baseline", "norm=ln"], "norm"),
        (["runs", "--baseline", "act=relu"], "act"),
        (["runs", "--out", "taken"], "cannot write"),
        (["runs", "more"], "usage"),
        (["runs", "--margin"], "--margin"),
    ],
)
def test_what_cannot_be_reported_is_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    if words[0] == "runs":
        write_sweep(tmp_path / "runs", NORMS, [0], accuracy)
    (tmp_path / "taken").write_text("")
    assert main(["report", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_files_of_a_report(tmp_path, capsys):
    write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    (tmp_path / "there" / "pictures").mkdir(parents=True)
    own = tmp_path / "there" / "pictures" / "mine.png"
    own.write_text("mine")
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "there"), "--margin=0.02"]) == 0
    assert "norm=gn is better than norm=bn" in capsys.readouterr().out
    there = {path.name for path in (tmp_path / "there").iterdir()}
    assert there == {"report.html", "report.md", "report.tex", "report.json", "pictures"}
    found = json.loads((tmp_path / "there" / "report.json").read_text())
    assert found["margin"] == 0.02
    assert found["comparisons"][0]["effect"]["difference"] == pytest.approx(0.057)
    assert own.read_text() == "mine"
    drawn = {path.stem for path in (tmp_path / "there" / "pictures").glob("*.svg")}
    assert {"means", "effects", "curves"} <= drawn
