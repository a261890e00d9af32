"""Unknown options, and words that are missing or too many: one line that says what to type instead, and exit code 2."""

import re
from pathlib import Path

import pytest

from dlzoo import commands
from dlzoo.cli import main


@pytest.mark.parametrize(
    "words",
    [
        ["list", "modle"],
        ["show", "nrom"],
        ["show", "norm", "gm"],
        ["eval"],
        ["eval", "run="],
        ["eval", "run=.", "x"],
        ["predict", "run=nothing", "x"],
        ["run"],
        ["run", "nothing"],
        ["train", "--hlep"],
        ["train", "resume=nothing"],
        ["train", "resume=nothing", "seed=1"],
        ["teach"],
        ["list", "--parts", "norm"],
        ["show", "norm", "gn", "image_size=3"],
    ],
)
def test_wrong_words_are_one_line_and_exit_2(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("dlzoo: ")


def _options(name: str) -> list[str]:
    """The long options in the help of a command."""
    text = commands.parser_of(name, commands.load(name)).format_help()
    return re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE)


@pytest.mark.parametrize("name", commands.names())
def test_an_unknown_option_of_any_command_gets_the_closest_one(name: str, capsys: pytest.CaptureFixture) -> None:
    options = _options(name)
    assert "--help" in options
    for option in options:
        wrong = option[:4] + option[5:]  # a letter is missing
        for words in ([wrong], [f"{wrong}=x"], ["nowhere", wrong], [wrong, "nowhere", "nor=here"]):
            assert main([name, *words]) == 2
            captured = capsys.readouterr()
            assert captured.err == f"dlzoo: unknown option '{wrong}'; did you mean '{option}'?\n"
            assert captured.out == ""
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["report", "--basline", "x"], "unknown option '--basline'; did you mean '--baseline'?"),
        (["report", "x", "--JSON"], "unknown option '--JSON'; available: --help, --baseline, --metric"),
        (["compare", "--baseline=norm=bn", "norm=bn,gn"], "settings have no dashes (baseline=norm=bn)"),
        (["lr-find", "--steps", "50"], "settings have no dashes (steps=50), and `dlzoo lr-find --help`"),
        (["train", "-x"], "unknown option '-x'"),
        (["--versoin"], "only --help and --version may stand before a command"),
        (["-m", "norm=bn,gn"], "only --help and --version may stand before a command"),
        (["reprot", "--help"], "unknown command 'reprot'; did you mean 'report'?"),
        (["lr_find"], "unknown command 'lr_find'; did you mean 'lr-find'?"),
        (["_parser"], "unknown command '_parser'"),
        (["report"], "required: FOLDER; usage: dlzoo report [-h] [--baseline SETTINGS]"),
        (["show"], "required: CHOICE; usage: dlzoo show [-h] [--config-dir DIR] [--json] [CHOICE] NAME"),
        (["show", "gaussian"], "several entries: `dlzoo show drop gaussian` or `dlzoo show augment gaussian`"),
        (["show", "batchnorm"], "there is no entry 'batchnorm'; did you mean `dlzoo show norm bn`?"),
        (["show", "resnet20x"], "there is no entry 'resnet20x'; did you mean `dlzoo show model resnet20`?"),
        (["show", "dataset"], "did you mean `dlzoo show data`?"),
        (["show", "nothing"], "`dlzoo find nothing` searches everything"),
        (["list", "dataset"], "unknown choice 'dataset'; did you mean 'data'?"),
        (["train", "--epochs", "10"], "settings have no dashes: did you mean trainer.max_epochs=10?"),
        (["train", "--lr=0.1"], "settings have no dashes: did you mean optimizer.lr=0.1?"),
        (["train", "--lr"], "the setting is optimizer.lr, a number > 0, as in optimizer.lr=0.1"),
        (["train", "--batch-size", "8"], "did you mean data.batch_size=8?"),
        (["train", "--model", "resnet50"], "did you mean model=resnet50?"),
        (["train", "--norm", "groupnorm"], "did you mean norm=gn?"),
        (["train", "--trainer.max_epochs", "3"], "did you mean trainer.max_epochs=3?"),
        (["train", "--zzz", "3"], "settings have no dashes (zzz=3), and `dlzoo train --help` lists the options"),
        (["train", "parts=./nothing.py", "--epochs", "3"], "unknown option '--epochs'"),
        (["train", "model", "=", "resnet20"], "'model' and its value are separated by spaces; type model=resnet20"),
        (["train", "model=", "resnet20"], "type model=resnet20"),
        (["train", "model", "=resnet20"], "type model=resnet20"),
        (["train", "-m", "norm=bn,gn", "epochs=5,10"], "did you mean trainer.max_epochs=5,10? (in the run"),
        (["tune", "lr=log(0.1,1)"], "did you mean 'optimizer.lr=log(0.1,1)'?"),
        (["train", "resume="], "resume= names no run"),
        (["resume", "x"], "unknown command 'resume'; did you mean `dlzoo run`?"),
        (["help", "trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["show", "norm", "gn", "norm.eps=1"], "norm=gn is shown without settings"),
        (["diff", "a"], "required: RUN; usage: dlzoo diff [-h] [--json] RUN RUN"),
        (["diff", "a", "b", "c"], "unrecognized arguments: c; usage: dlzoo diff [-h]"),
        (["version", "x"], "unrecognized arguments: x"),
        (["list", "model", "--json=3"], "--json: ignored explicit argument '3'"),
        (["report", "a", "--out"], "--out: expected one argument"),
        (["report", "a", "--margin", "1", "--margin", "2"], "--margin is given twice"),
        (["report", "a", "margin=1", "--margin=2"], "--margin is given twice"),
        (["report", "a", "--margin", "-1"], "--margin -1: it must be a number >= 0"),
        (["predict", "run=nowhere", "--", "x.png"], "unknown option '--'; available: --help, --out, --json"),
        (["predict", "-x.png", "run=nowhere"], "unknown option '-x.png'"),
        (["train", "resume=a", "seed=1"], "a is not a run directory: folder not found"),
    ],
)
def test_an_error_says_what_to_type_instead(words: list[str], instead: str, capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert instead in line


def test_options_stand_anywhere_among_the_words() -> None:
    def parsed(name: str, *words: str) -> dict[str, object]:
        return vars(commands.parser_of(name, commands.load(name)).parse(words))

    settings = ["norm=bn,gn", "seed=range(2)", "optimizer.lr=-1"]
    for place in range(len(settings) + 1):
        words = [*settings[:place], "-m", *settings[place:]]
        assert parsed("train", *words) == {"multirun": True, "config_dir": None, "settings": settings}
    options = {"baseline": "norm=bn", "metric": None, "margin": "-1", "out": None}
    for words in (
        ["--baseline", "norm=bn", "here", "--margin", "-1"],
        ["here", "--baseline=norm=bn", "--margin=-1"],
        ["margin=-1", "baseline=norm=bn", "here"],
    ):
        assert parsed("report", *words) == {"folder": "here"} | options
    assert parsed("report", "out")["folder"] == "out"
    expected = {
        "choice": "model",
        "name": "linear",
        "settings": ["image_size=8", "num_classes=2"],
        "json": True,
        "config_dir": None,
    }
    assert parsed("show", "model", "--json", "linear", "image_size=8", "num_classes=2") == expected
    assert parsed("show", "model", "linear", "image_size=8", "--json", "num_classes=2") == expected
    assert parsed("predict", "a.png", "--out", "x", "run=x", "-") == {
        "words": ["a.png", "run=x", "-"],
        "out": "x",
        "json": False,
        "trust": False,
    }
    assert parsed("runs") == {"folder": "outputs", "json": False}
