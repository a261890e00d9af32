"""Names of users are printed as they are: no control character, no markup and no encoding breaks a line."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.text import Text

from dlzoo.builder.predict import format_predictions
from dlzoo.builder.summary import print_result
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.core.console import Console
from dlzoo.core.errors import Note
from dlzoo.core.terminal import Output, in_one_line, printable
from dlzoo.engine.display import PatientConsole
from tests.fake_runs import write_run, write_sweep

#: Names that a terminal would obey or could not show, and how they are shown.
HIDDEN = {
    "a\x1b[2Jb": r"a\x1b[2Jb",
    "a\x07b": r"a\x07b",
    "a\rb": r"a\rb",
    "a\x9bb": r"a\x9bb",
    "a\u202egpj": r"a\u202egpj",
    "a\u2066b\u2069": r"a\u2066b\u2069",
    "a\u200fb": r"a\u200fb",
    "caf\udce9": r"caf\udce9",
}
#: Names with a meaning for rich, matplotlib, SQLAlchemy, Optuna or a shell.
PLAIN = ["[red]a[/red]", "[/a]", ":smile:", "50%", "c%20d", "which one?", "#1", "$\\frac{a$", "{a}", "a&b;c", "é 長"]
OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(("name", "shown"), [*HIDDEN.items(), *((name, name) for name in PLAIN)], ids=ascii)
def test_a_name_is_printed_without_a_meaning(name: str, shown: str) -> None:
    assert printable(name) == printable(shown) == shown
    file = io.StringIO()
    Console(file=file, force_terminal=True, width=80).print(name, soft_wrap=True)
    # rich itself leaves out the bell and the carriage return.
    assert file.getvalue().rstrip("\n") in (shown, re.sub(r"\\x07|\\r", "", shown))


def test_a_name_in_a_table_takes_one_line() -> None:
    assert in_one_line("a\nb\tc\x1b") == r"a\nb\tc\x1b"
    assert printable("a\nb\tc") == "a\nb\tc"


@pytest.mark.parametrize("line", ["run  a\nb\tc", Text("run  ", style="bold") + Text("a\nb\tc")])
def test_a_line_has_no_line_break(line: str | Text) -> None:
    file = io.StringIO()
    PatientConsole(file=file, force_terminal=True, width=9).print(line, soft_wrap=True)
    assert re.sub(r"\x1b\[\d*m", "", file.getvalue()) == r"run  a\nb\tc" + "\n"


def test_a_line_break_in_the_name_of_a_run_an_image_or_a_class_is_escaped() -> None:
    path, file = Path("a\nb"), io.StringIO()
    run = write_run(path, compose(["model=mlp"]), 0.5)
    record = run.read() | {"zero_weights": 0, "pictures": ["curves"], "tested": 300, "selected_epoch": 1.0}
    print_result(Console(file=file), path, record)
    assert len(file.getvalue().splitlines()) == 6
    assert r"plots          a\nb/pictures: curves" in file.getvalue()
    answer = {"file": "i\n.png", "classes": [{"name": "c\td", "probability": 1.0}]}
    assert format_predictions(str(path), [answer]) == [r"i\n.png: c\td 100.0%"]
    write_run(Path("boxes"), compose(["data=shapes"]), 0.5, task="detect")
    answer = {"file": "i.png", "objects": [], "picture": "o\n/i-found.png"}
    assert format_predictions("boxes", [answer]) == [
        r"i.png: no objects with a score of 30% or more; drawn in o\n/i-found.png"
    ]
    assert "(the highest is 21%; " in format_predictions("boxes", [answer | {"highest_score": 0.21}])[0]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
@pytest.mark.parametrize("name", [*HIDDEN, *PLAIN], ids=ascii)
def test_no_encoding_of_the_output_is_an_error(name: str, encoding: str) -> None:
    content = io.BytesIO()
    output = Output(io.TextIOWrapper(content, encoding=encoding, errors="strict"), "standard output")
    print(name, file=output)
    print(name, file=output.rich_proxied_file)
    output.flush()
    escaped, raw = content.getvalue().decode(encoding).splitlines(keepends=True)[:2]
    assert escaped.endswith("\n") and not OBEYED.search(escaped)
    assert raw


@pytest.mark.parametrize("name", [*HIDDEN, *PLAIN], ids=ascii)
@pytest.mark.parametrize(
    "words", [["eval", "run={}"], ["runs", "{}"], ["{}=1"], ["train", "data=image_folder", "data.root={}"]]
)
def test_an_error_with_a_name_is_one_line(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.replace("{}", name) for word in words]) == 2
    (line,) = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert line.startswith("dlzoo: ") and not OBEYED.search(line)


FOLDERS = {
    name.replace("/", "|"): shown.replace("/", "|")
    for name, shown in [*HIDDEN.items(), *((name, name) for name in PLAIN)]
}


def test_runs_of_any_name_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("[b]%20 $x?\x1b[1m\u202e")
    for name in FOLDERS:
        write_run(folder / name / name, compose(["model=mlp"]), 0.5)
    assert main(["runs", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert not OBEYED.search(printed)
    assert all(f"{shown}/{shown}" in printed for shown in FOLDERS.values())
    assert main(["runs", str(folder), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {Path(run["path"]).name for run in listed} == {*FOLDERS}


@pytest.mark.draws
@pytest.mark.parametrize("names", [[*HIDDEN], PLAIN], ids=["hidden", "plain"])
def test_a_report_on_classes_of_any_name_is_written(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(names[0].replace("/", "|"))
    by_class = {"recall": [0.5] * len(names)}
    arms = [["norm=bn", "model=mlp"], ["norm=ln", "model=mlp"]]
    write_sweep(folder, arms, [0, 1], lambda config, seed: 0.5, classes=names, by_class=by_class)
    assert main(["report", str(folder), "--out", "page"]) == 0
    assert not OBEYED.search(capsys.readouterr().out)
    assert {"report.html", "report.md", "report.tex", "report.json"} <= {path.name for path in Path("page").iterdir()}


@pytest.fixture
def full_disk() -> Iterator[io.TextIOWrapper]:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    file = open("/dev/full", "w")  # noqa: SIM115
    yield file
    file.close()  # without an error: what was not written is dropped


def test_a_full_disk_under_the_output_does_not_end_a_training(
    full_disk: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", full_disk)
    console = PatientConsole()
    with pytest.warns(Note, match="cannot write to the standard output: no space left on device"):
        console.print("epoch 1")
    console.print("epoch 2")


@pytest.mark.parametrize("words", [["list", "model"], ["show", "act", "relu", "--json"], ["--version"], ["--help"]])
def test_a_full_disk_under_the_output_is_one_line(
    words: list[str], full_disk: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", full_disk)
    assert main(words) == 2
    assert capsys.readouterr().err == "dlzoo: standard output: no space left on device\n"


def test_the_streams_are_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    main(["list", "norm"])
    main(["list", "nothing"])
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out
