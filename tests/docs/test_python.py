"""docs/python.md: every public name is there, with its signature, and its examples run and have types."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import dlzoo
from tests.docs.pages import PAGES, REPOSITORY, python_blocks
from tests.processes import Command

(PAGE,) = [page for page in PAGES if page.name == "docs/python.md"]
_LINES = " ".join(" ".join(block.content for block in PAGE.blocks if block.language == "text").split())
#: Those of several lines as if they had one.
SIGNATURES = _LINES.replace("( ", "(").replace(", ) ->", ") ->")


def test_every_public_name_is_documented() -> None:
    named = set(re.findall(r"dlzoo\.(\w+)", PAGE.text))
    assert [name for name in dlzoo.__all__ if name not in named] == []


def signature(function: object, name: str) -> str:
    """The signature as the page shows it."""
    shown = f"{name}{inspect.signature(function)}"  # type: ignore[arg-type]
    return _without_quotes(shown).replace("(self, ", "(").replace("(self)", "()")


def _without_quotes(text: str) -> str:
    """Annotations are strings; where defaults are too, their quotes are dropped as well."""
    return re.sub("[\"']", "", text)


FUNCTIONS = ("train", "load", "runs", "compare", "report", "build", "build_loss", "build_model", "available")
METHODS = ("Run.network", "Run.predict", "Run.evaluate", "Run.resume", "RunTable.sort", "RunTable.to_pandas")


@pytest.mark.parametrize("name", [*(f"dlzoo.{each}" for each in FUNCTIONS), *METHODS])
def test_signatures_are_those_of_the_code(name: str) -> None:
    owner, _, function = name.rpartition(".")
    found = getattr(dlzoo if owner == "dlzoo" else getattr(dlzoo, owner), function)
    assert signature(found, name) in _without_quotes(SIGNATURES)


def test_functions_and_methods_are_all_in_the_list_above() -> None:
    public = {name for name in dlzoo.__all__ if inspect.isfunction(getattr(dlzoo, name))}
    assert public == set(FUNCTIONS)


def test_the_examples_run() -> None:
    for name in ("cat", "dog"):
        Image.new("RGB", (40, 30), (200, 180, 40)).save(f"{name}.jpg")
    command = Command(code="\n".join(python_blocks("python")), one_process=True, plots=True)
    output, errors = command.communicate()
    assert command.returncode == 0, errors
    assert "confusion outputs/first/pictures/confusion.png" in output
    assert "torch.Size([2, 10])" in output
    assert Path("outputs/widths/report/report.html").is_file()


def test_the_examples_have_types(tmp_path: Path) -> None:
    """In pyright's strict mode what is not annotated is an error: reportUnknownMemberType and the like."""
    (tmp_path / "example.py").write_text("\n".join(python_blocks("python")))
    settings = {"include": ["example.py"], "extraPaths": [str(REPOSITORY)], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path), "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [each["message"] for each in json.loads(done.stdout)["generalDiagnostics"]] == []
