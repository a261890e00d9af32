"""`dlzoo list`, `show`, `--help` and completion."""

import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from dlzoo import commands, config
from dlzoo.cli import main
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS, NORMS, REGISTRIES
from dlzoo.show import parts
from dlzoo.show.choices import ABOUT, SELECTIONS, choice_of, choices
from dlzoo.show.listing import COMPLETION, candidates


@pytest.mark.parametrize("choice", [*REGISTRIES, "trainer", "experiment"])
def test_list_and_show_know_every_entry(
    choice: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlzoo.show.plot.draw", lambda *words: Path("plot.png"))  # test_show_plots.py draws them all
    assert main(["list", choice]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [name for name in config.options(choice) if name != "default"]
    assert main(["list", choice, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert list(described) == names
    assert all(described.values())
    for name in names[:3]:
        assert main(["show", choice, name]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"{choice}={name}\n")
        assert main(["show", choice, name, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert all(f"{choice}.{setting}=" in text for setting in found["settings"])


def test_show_says_what_a_model_costs(capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "model", "resnet50"]) == 0
    text = capsys.readouterr().out
    assert "224 px, 3 channels, 1000 classes: 25,557,032 parameters, 4,089.2 M multiply-accumulates" in text
    assert "the reference, with the defaults: 25,557,032 parameters, 4,089 M multiply-accumulates" in text


def test_help_names_every_command_choice_and_setting(capsys: pytest.CaptureFixture) -> None:
    of_train = (*config.choices(), "trainer.max_epochs", "data.batch_size", "seed", "sweep.dry_run")
    for words, named in (
        ([], (*commands.names(), *of_train)),
        (["--help"], (*commands.names(), *of_train)),
        (["help"], (*commands.names(), *of_train)),
        (["train", "-h"], ("-m, --multirun", *of_train[:-1])),
        (["help", "train"], ("-m, --multirun", *of_train[:-1])),
        (["model=resnet20", "--help"], ("-m, --multirun", *of_train[:-1])),
    ):
        assert main(words) == 0
        text = capsys.readouterr().out
        for word in named:
            assert f"  {word} " in text, word
        assert max(map(len, text.splitlines())) <= 170


def test_help_on_train_has_the_settings_that_most_people_need(capsys: pytest.CaptureFixture) -> None:
    assert main(["help", "train"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: dlzoo train ")
    assert "\n  optimizer.lr           0.1       the learning rate" in text
    assert "sweep.dry_run" not in text
    assert "All settings with their defaults: `dlzoo --help`" in text
    defaults = config.compose([])
    for line in text.partition("defaults\n")[2].partition("\n\n")[0].splitlines():
        key, default = line.split()[:2]
        section, _, name = key.rpartition(".")
        if key not in config.choices():
            found = defaults[section][name] if section else defaults[name]
            assert default == json.dumps(found).strip('"'), key


def test_list_alone_lists_the_choices(capsys: pytest.CaptureFixture) -> None:
    assert main(["list"]) == 0
    rows = [line.split(None, 2) for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == choices()
    assert all(int(count) == len(config.names_of(choice)) and about for choice, count, about in rows)
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["norm"] == {"count": len(NORMS.names()), "about": ABOUT["norm"]}


def test_show_finds_a_unique_name_and_lists_a_choice(capsys: pytest.CaptureFixture) -> None:
    def printed(*words: str) -> str:
        assert main(["show", *words]) == 0
        return capsys.readouterr().out

    assert printed("gn") == printed("norm", "gn")
    assert printed("linear", "num_classes=2") == printed("model", "linear", "num_classes=2")
    assert printed("relu", "--json") == printed("act", "relu", "--json")
    lines = printed("loss").splitlines()
    assert [line.split()[0] for line in lines] == config.names_of("loss")
    assert all(len(line.split()) > 2 for line in lines)
    assert list(json.loads(printed("loss", "--json"))) == config.names_of("loss")
    for choice in choices():  # every name is shown, or the commands for it are listed
        for name in config.names_of(choice)[:2]:
            try:
                assert name in config.names_of(choice_of(name))
            except UserError as error:
                assert f"`dlzoo show {SELECTIONS.get(choice, choice)} {name}`" in str(error)


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("dlzoo tr", ["train", "trainer="]),
        ("dlzoo vers", ["version"]),
        ("dlzoo version ", []),
        ("dlzoo mod", ["model="]),
        ("dlzoo train norm=g", ["gn"]),
        ("dlzoo model=resnet1", ["resnet18", "resnet101", "resnet152", "resnet110"]),
        ("train.py norm=gn norm.num", ["norm.num_groups="]),
        ("dlzoo train trainer.max", ["trainer.max_epochs=", "trainer.max_steps="]),
        ("dlzoo show no", ["norm"]),
        ("dlzoo list to", ["topics"]),
        ("dlzoo show norm g", ["gn"]),
        ("dlzoo show model resnet20 norm=g", ["gn"]),
        ("dlzoo show model resnet20 model.w", ["model.width="]),
        ("dlzoo eval r", ["run="]),
        ("dlzoo train zzz", []),
        (
            "dlzoo train optimizer.l",
            ["optimizer.lr=", "optimizer.lr_reference_batch=", "optimizer.l1=", "optimizer.layer_decay="],
        ),
        ("dlzoo train freeze=", ["none", "backbone"]),
        ("dlzoo train norm.affine=t", ["true"]),
    ],
)
def test_completion(line: str, some: list[str]) -> None:
    assert sorted(candidates(line, commands.names())) == sorted(some)


def test_the_table_of_parts_and_the_one_in_the_docs(capsys: pytest.CaptureFixture) -> None:
    """Every cell was found out by building; here that the page is not behind, and that the words agree."""
    found = parts.matrix()
    assert set(found) == set(MODELS.names()) - {"moved_boxes"}  # which is for one data set alone
    page = Path(__file__).parents[2] / "docs" / "models_and_parts.md"
    assert parts.markdown(found) in page.read_text(), "run python scripts/doc_tables.py"
    parts.show(found, Console(width=150))
    printed = capsys.readouterr().out
    assert all(line in printed for line in parts.legend(found))
    assert found["linear"] == {}
    assert found["resnet18"]["norm"] == NORMS.names()
    assert "stochastic_depth" not in found["vgg11"]["drop"]


def test_bash_completes() -> None:
    """The documented line, in a real bash, with a stand-in for the program on its path."""
    script = f"""
dlzoo() {{ [ "$2" = --line ] && [ "$3" = "dlzoo train norm=g" ] && echo gn; }}
{COMPLETION}
COMP_LINE="dlzoo train norm=g"; COMP_POINT=${{#COMP_LINE}}
_dlzoo
echo "${{COMPREPLY[*]}}"
"""
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout == "gn\n"
