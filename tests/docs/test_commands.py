"""Every command of the documentation is run on small data, or composed where it differs from one that is in values."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from dlzoo import config as configs
from dlzoo.builder.model import supported_parts
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.config.overrides import parse
from dlzoo.show import listing
from dlzoo.sweep.experiment import named_comparison
from dlzoo.sweep.plan import plan
from dlzoo.sweep.request import parse_comparison, parse_sweep
from tests.docs.pages import COMMANDS, Command
from tests.docs.rules import OF_DETECTORS, OTHERS, QUICK, RESUMED, SWEEPS, TRAININGS, Rule
from tests.docs.shell_lines import SHELL, check_script
from tests.docs.workspace import Workspace, furnish, interrupted
from tests.processes import start_here

#: Executed together, with the entries that they are about: test_recipes.py.
RECIPES = "docs/extending.md"


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documented")
    furnish(folder)
    return folder


@pytest.fixture
def workspace(furnished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Workspace:
    monkeypatch.chdir(furnished)
    monkeypatch.setenv("XDG_CACHE_HOME", str(furnished / "cache"))
    monkeypatch.setattr("dlzoo.sweep.executors.local.LocalExecutor.start", start_here)
    # The models of the whole zoo take ten seconds; tests/commands/test_list_and_show.py looks at them.
    monkeypatch.setattr(
        "dlzoo.show.parts.matrix", lambda: {name: supported_parts(name) for name in ("mlp", "resnet20")}
    )
    return Workspace(furnished, capsys)


# What kind of command a line is: the first of these that is true of it.


def is_shown(command: Command) -> bool:
    """Its output is on the page."""
    return command.printed is not None


def is_mention(command: Command) -> bool:
    """The name of a command, in a sentence."""
    return command.words[0] == "dlzoo" and len(command.words) == 2 and not command.words[1].startswith("-")


def is_shell(command: Command) -> bool:
    """A line of another program."""
    return command.words[0] in SHELL or command.text.startswith("python scripts/")


def is_recipe(command: Command) -> bool:
    """Of the page of recipes, and about an entry that a recipe adds."""
    return command.page == RECIPES and command.text not in (*TRAININGS, *OTHERS)


def is_run(command: Command) -> bool:
    return command.text in (*TRAININGS, *SWEEPS, *OTHERS, *RESUMED)


def is_composed(command: Command) -> bool:
    """A training or a sweep that nothing runs as it stands; `why_composed` says whether that will do."""
    return command.text.startswith(("python train.py", "dlzoo compare"))


KINDS: list[Callable[[Command], bool]] = [is_shown, is_mention, is_shell, is_recipe, is_run, is_composed]


def of_kind(kind: Callable[[Command], bool]) -> list[Command]:
    """Each text once, with the first place where it stands; a page about detectors has a place of its own."""
    found = [each for each in COMMANDS if next((one for one in KINDS if one(each)), None) is kind]
    return list({(each.text, rule_of(each) is None): each for each in found}.values())


def rule_of(command: Command) -> Rule | None:
    """The rule of a command that is run in a way of its own on its page."""
    return OF_DETECTORS.get(command.text) if command.page == "docs/detection.md" else None


def test_every_command_is_of_some_kind() -> None:
    unknown = [str(each) for each in COMMANDS if not any(kind(each) for kind in KINDS)]
    assert unknown == [], "add a rule to tests/docs/rules.py"
    assert len(COMMANDS) > 100


def test_no_rule_is_left_over() -> None:
    written = {each.text for each in COMMANDS}
    assert {*TRAININGS, *SWEEPS, *OTHERS, *OF_DETECTORS, *RESUMED} <= written


def every(kind: Callable[[Command], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("command", of_kind(kind), ids=str)


def mark_long(command: Command) -> Any:
    """Of the pages that newcomers follow every command is run in ordinary tests, of others every third one."""
    followed = command.page == "README.md" or command.page.startswith(("docs/getting_started", "docs/walk_"))
    ordinary = followed or crc32(command.text.encode()) % 3 == 0
    return pytest.param(command, id=str(command), marks=[] if ordinary else [pytest.mark.long])


@every(is_shown)
def test_what_a_page_shows_is_what_is_printed(command: Command, workspace: Workspace) -> None:
    assert command.printed
    code = 2 if command.printed.startswith("dlzoo: ") else 0
    assert workspace.run(command.words[2:], code).strip() == command.printed.strip()


@every(is_mention)
def test_a_command_that_is_mentioned_exists(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert f"  {command.words[1]} " in capsys.readouterr().out


@pytest.mark.parametrize("command", map(mark_long, of_kind(is_run)))
def test_a_command_runs_and_leaves_what_it_should(command: Command, workspace: Workspace) -> None:
    if command.text in TRAININGS:
        _look_at_training(command, workspace)
    elif command.text in RESUMED:
        _look_at_resumed(command, workspace)
    else:
        rule = rule_of(command) or SWEEPS.get(command.text) or OTHERS[command.text]
        printed = workspace.other(command.text, rule)
        for text in rule.prints:
            assert text in printed
        run = workspace.needed(rule)
        for pattern in rule.leaves:
            where = str(run.path.relative_to(workspace.folder)) if run else ""
            assert list(workspace.folder.glob(pattern.replace("<run>", where))), pattern


def _look_at_training(command: Command, workspace: Workspace) -> None:
    rule, run = TRAININGS[command.text], workspace.train(command.text)
    record = run.read()
    assert record["state"] == "finished"
    assert isinstance(record["metrics"][rule.metric], float)
    for name in ("config.yaml", "metrics.jsonl", "checkpoints/last.ckpt", "events.out.tfevents.*"):
        assert list(run.path.glob(name)), name
    changed = {word.partition("=")[0] for word in (*shlex.split(rule.add), *shlex.split(QUICK), *rule.swap)}
    _look_whether_it_says(record["config"], command.words[2:], changed | {"run_dir", "init_from"})
    if "init_from" in command.text:
        assert record["init_from"].endswith("head included")
        assert record["trainable"] < record["params"]


def _look_at_resumed(command: Command, workspace: Workspace) -> None:
    run, undisturbed = interrupted(workspace.folder / "outputs" / f"stopped_{RESUMED.index(command.text)}")
    assert run.read()["state"] == "interrupted"
    words = shlex.split(command.text.replace("outputs/<run>", str(run.path)))
    workspace.run(words[2:] if words[0] == "python" else words[1:])
    assert run.read()["state"] == "finished"
    assert run.read()["metrics"] == undisturbed


def _look_whether_it_says(config: dict[str, Any], words: list[str], changed: set[str] | None = None) -> None:
    """Whether each setting is in the config as it was typed."""
    for word in words:
        key, _, text = word.partition("=")
        *sections, name = key.split(".")
        if key in (changed or set()) or key in ("trainer", "experiment", "parts"):
            continue
        if key in configs.choices():
            assert config[key]["name"] == text
        else:
            assert reduce(getitem, [*sections, name], config) == parse(word).value()


@every(is_composed)
def test_a_command_that_is_not_run_is_composed(command: Command) -> None:
    words = command.words[2:]
    assert why_composed(command), f"add a rule for {command} to tests/docs/rules.py"
    experiment = named_comparison([word for word in words if word != "-m"])
    if command.words[0] == "dlzoo" or "-m" in words or experiment:
        own = [word for word in words if word != "-m"]
        few = ["seeds=1"] if experiment else []
        planned = plan((parse_comparison if command.words[0] == "dlzoo" else parse_sweep)([*own, *few]))
        assert len(planned.runs) >= (2 if few else 8)
        single = [word for word in own if "," not in word and "(" not in word and not _is_of_sweep(word)]
        for run in planned.runs[:2]:
            _look_whether_it_says(run.config, single)
    else:
        _look_whether_it_says(compose(words), words)


def _is_of_sweep(word: str) -> bool:
    key = word.partition("=")[0]
    return key in ("name", *configs.COMPARE_ONLY) or key.partition(".")[0] in configs.SWEEP_ONLY


def why_composed(command: Command) -> str:
    """Why a command need not be run; "" where it has to be."""
    keys = {word.partition("=")[0] for word in command.words[2:]}
    if {"data.download=true", "model.pretrained=true"} & set(command.words):
        return "it downloads"
    if any(word.startswith("executor=") for word in command.words):
        return "it needs a cluster"
    if any(word.startswith("experiment=") for word in command.words):
        return "tests/sweep/test_experiment.py trains a run of every experiment"
    others = [shlex.split(text) for text in (*TRAININGS, *SWEEPS) if shlex.split(text)[:2] == command.words[:2]]
    same = [words for words in others if keys <= {word.partition("=")[0] for word in words[2:]}]
    return f"it differs in values from {shlex.join(same[0])}" if same else ""


@every(is_shell)
def test_a_line_of_another_program_can_be_right(command: Command) -> None:
    program, *words = command.words
    (check_script if program == "python" else SHELL[program])(words)


def test_the_lines_of_completion_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 0
    assert capsys.readouterr().out.strip() == listing.COMPLETION.strip()
