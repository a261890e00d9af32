"""How commands are found: our own modules, and the entry points of other packages."""

import dis
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dlzoo.cli
from dlzoo import commands
from dlzoo.cli import main

ROOT = Path(dlzoo.cli.__file__).parent
MODULES = [module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_")]


def test_every_module_is_a_command_and_every_command_has_its_module() -> None:
    assert {name.replace("_", "-") for name in MODULES} == set(commands.names())
    assert commands.names()[0] == "train"
    assert {"list", "eval", "lr-find", "completion", "version"} < set(commands.names())


@pytest.mark.parametrize("name", MODULES)
def test_a_command_has_help_a_description_and_arguments(name: str) -> None:
    module = importlib.import_module(f"dlzoo.commands.{name}")
    assert isinstance(module, commands.Command)
    assert module.HELP.strip() == module.HELP and "\n" not in module.HELP
    assert f"dlzoo {'--' if name == 'version' else ''}{name.replace('_', '-')}" in module.HELP
    description = inspect.getdoc(module) or ""
    assert description[0].isupper()
    assert max(map(len, description.splitlines())) <= 100
    text = commands.parser_of(name.replace("_", "-"), module).format_help()
    assert text.startswith(f"usage: dlzoo {name.replace('_', '-')} [-h]")
    assert description in text


def test_no_submodule_hides_a_name_of_the_package() -> None:
    """Once dlzoo.commands.list is imported, `list` in dlzoo/commands/__init__.py is that module, not the builtin."""
    codes, used = [compile(Path(commands.__file__).read_text(), "commands", "exec")], set()
    for code in codes:
        used |= {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        codes += [const for const in code.co_consts if inspect.iscode(const)]
    assert {"pkgutil", "set", "UserError"} - used == {"set"}
    assert not used & set(MODULES)


def test_help_of_every_command_needs_no_torch() -> None:
    code = f"""
import sys
from dlzoo.cli import main
for name in {[*commands.names()]!r}:
    assert main([name, "--help"]) == 0
    print("loaded:", [name for name in ("torch", "scipy", "matplotlib", "hydra") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("usage: dlzoo ") == len(commands.names())
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded:")] == ["loaded: []"] * len(MODULES)


def test_cli_only_finds_and_calls() -> None:
    assert len((ROOT / "cli.py").read_text().splitlines()) < 100


PLUG_IN = '''"""Count the runs of a folder.

From another package.
"""

HELP = "count the runs of a folder: dlzoo count"


def arguments(parser):
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--most", type=int, default=9)


def run(arguments):
    print("counted", arguments.folder, arguments.most)
    return 3
'''


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with the command `count`, one that cannot be imported, one that is none, and a second train.

    Its modules are imported from a path of their own in this process, and from PYTHONPATH in another.
    """
    site = tmp_path / "site"
    (site / "counting-1.dist-info").mkdir(parents=True)
    (site / "counting-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1\n")
    (site / "counting-1.dist-info" / "entry_points.txt").write_text(
        "[dlzoo.command]\ncount = counting_command\nbroken = counting_broken\nbare = counting_bare\n"
        "train = counting_command\n"
    )
    (site / "counting_command.py").write_text(PLUG_IN)
    (site / "counting_broken.py").write_text("1 / 0")
    (site / "counting_bare.py").write_text("HELP = 'nothing to run'")
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.usefixtures("plug_in")
def test_a_command_of_another_package_is_listed_and_runs(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    captured = capsys.readouterr()
    assert "\n  count       count the runs of a folder: dlzoo count\n" in captured.out
    assert "  broken " not in captured.out
    assert sorted(captured.err.splitlines()) == [
        "dlzoo: the command bare of the plug-in counting_bare failed: a command has HELP, arguments(parser) and"
        " run(arguments); it is left out",
        "dlzoo: the command broken of the plug-in counting_broken failed: division by zero; it is left out",
        "dlzoo: the plug-in counting_command is left out: train is a command of dlzoo",
    ]
    assert main(["count", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: dlzoo count [-h] [--most MOST] FOLDER\n\nCount the runs of a folder.\n")
    assert main(["count", "here", "--most", "4"]) == 3
    assert capsys.readouterr().out == "counted here 4\n"
    for words, said in (
        (["count", "here", "--mst", "4"], "unknown option '--mst'; did you mean '--most'?"),
        (["count", "here", "--most", "four"], "argument --most: invalid int value: 'four'; usage: dlzoo count"),
        (["conut"], "unknown command 'conut'; did you mean 'count'?"),
        (["broken"], "the command broken of the plug-in counting_broken failed: division by zero"),
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert main(["completion", "--line", "dlzoo cou"]) == 0
    assert capsys.readouterr().out == "count\n"


def test_a_plug_in_is_not_imported_for_other_commands(plug_in: Path, capsys: pytest.CaptureFixture) -> None:
    (plug_in / "counting_command.py").write_text("raise SystemExit('imported')")
    assert main(["train", "model=resnet21"]) == 2
    assert capsys.readouterr().err.startswith("dlzoo: unknown model 'resnet21'; did you mean")
    assert main(["list", "act"]) == 0
    assert capsys.readouterr().err == ""
