"""Lines of other programs in the documentation: what can be known of them without running them."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable
from importlib.metadata import entry_points

from dlzoo.show import listing
from tests.docs.pages import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def check_make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    assert all(re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) for target in targets)
    for word in words:
        if word.startswith("ARGS=-m "):
            markers = [each.partition(":")[0] for each in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]
            assert word.removeprefix("ARGS=-m ") in markers


def check_source(words: list[str]) -> None:
    assert words == [".venv/bin/activate"]
    assert "\nVENV := .venv\n" in MAKEFILE


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        extra = re.fullmatch(r"dlzoo\[(\w+)\]", word)
        assert word == "." or (extra and extra[1] in PROJECT["project"]["optional-dependencies"])


def check_console_script(words: list[str], name: str) -> None:
    assert name in {point.name for point in entry_points(group="console_scripts")}
    if "-m" in words:
        assert (REPOSITORY / (words[words.index("-m") + 1].replace(".", "/") + ".py")).is_file()


def check_ray(words: list[str]) -> None:
    assert words == ["start", "--head"]
    assert any(each.startswith("ray[default]") for each in PROJECT["project"]["optional-dependencies"]["ray"])


def check_eval(words: list[str]) -> None:
    assert words == ["$(dlzoo completion)"]
    code = f"{listing.COMPLETION}\ncomplete -p dlzoo && type _dlzoo"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert "-F _dlzoo dlzoo" in done.stdout


def check_script(words: list[str]) -> None:
    """The file is there, and takes the options that are named."""
    assert (REPOSITORY / words[0]).is_file()
    source = (REPOSITORY / words[0]).read_text()
    assert ast.get_docstring(ast.parse(source))
    assert all(f'"{word}"' in source for word in words[1:] if word.startswith("--"))


SHELL: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "source": check_source,
    "pip": check_pip,
    "tensorboard": lambda words: check_console_script(words, "tensorboard"),
    "torchrun": lambda words: check_console_script(words, "torchrun"),
    "ray": check_ray,
    "eval": check_eval,
}
