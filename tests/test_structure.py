"""The structure of the package: sizes, layers, and no question outside tasks/ of which task it is."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlzoo.core.registries import TASKS

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "dlzoo"
SOURCES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE = [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] != "tasks"]
FOLDERS = {path.parent.name for path in (PACKAGE / "tasks").glob("*/__init__.py")}
#: Kinds of target that one task alone has, as TaskMarks and losses name them.
KINDS = {"objects"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def constants(node: ast.AST) -> set[object]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}


def questions(path: Path) -> Iterator[str]:
    """Comparisons with the name of a task, and whether a model has a backbone or a data set is of a class of ours."""
    names = {*TASKS.names(), *FOLDERS, *KINDS}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            compared = {value for operand in operands for value in constants(operand)}
            membership = any(isinstance(operator, ast.In | ast.NotIn) for operator in node.ops)
            asks_backbone = membership and isinstance(node.left, ast.Constant) and node.left.value == "backbone"
            if compared & names or asks_backbone:
                yield f"{path}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.MatchValue) and constants(node) & names:
            yield f"{path}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            kinds = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            if kinds & {"Detector", "BoxSet", "ImageSet", "TableSet"}:
                yield f"{path}:{node.lineno}: {ast.unparse(node)}"


def test_nothing_outside_tasks_asks_which_task_it_is() -> None:
    assert [question for path in OUTSIDE for question in questions(path)] == []


def test_the_search_for_questions_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "asks.py"
    path.write_text(
        "if data.task == 'detect': pass\nif 'backbone' in meta: pass\nisinstance(net, Detector)\n"
        "if kind in ('classify', 'x'): pass\nif kind != 'objects': pass\nok = {'detect': 1}\n"
    )
    assert len(list(questions(path))) == 5


def test_sizes() -> None:
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(folders) <= 22
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "cli.py"}
    assert len((PACKAGE / "cli.py").read_text().splitlines()) < 100
    long_files = [str(path) for path in SOURCES if len(path.read_text().splitlines()) > 250]
    assert len(long_files) <= 3, long_files
    functions = [
        f"{path}:{node.lineno}: {node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 45
    ]
    assert functions == []


def layers() -> list[list[str]]:
    """The layers of the contract, the top one first: the rooms of each, sorted."""
    content = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    (contract,) = [each for each in content["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    return [sorted(word.removeprefix("dlzoo.") for word in re.split(r" [|:] ", line)) for line in contract["layers"]]


def test_the_picture_of_the_architecture_is_the_contract() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    picture = [line.split(" | ") for line in page.split("```text\n")[1].split("```")[0].splitlines()]
    assert picture == layers()
    assert len(picture) <= 11
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} | {"cli"}
    assert {room for layer in picture for room in layer} == rooms


def test_the_glossary_has_at_most_fifteen_lines() -> None:
    rows = (REPOSITORY / "docs" / "architecture.md").read_text().partition("## Glossary")[2].split("\n| ")[2:]
    assert 10 <= len(rows) <= 15


@pytest.mark.parametrize("room", [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()])
def test_the_tests_mirror_the_package(room: str) -> None:
    assert (REPOSITORY / "tests" / room).is_dir() or room == "show"  # tests/commands runs `dlzoo show`


def test_tests_import_nothing_private_of_the_package() -> None:
    private = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}: {alias.name}"
        for path in sorted((REPOSITORY / "tests").rglob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dlzoo")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert private == []
