"""Entries that were registered in a script or a notebook: their source, for other processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import dlzoo
from dlzoo.core import own_parts, own_source
from dlzoo.core.errors import UserError
from dlzoo.core.parts_file import PartsFile
from dlzoo.core.registries import NORMS, REGISTRIES
from dlzoo.core.registry import load_parts_file

SCRIPT = """\
from __future__ import annotations
import dlzoo
import torch
from torch import nn
unused = 1 / 1
FACTOR = 3.0
class Base(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return FACTOR * maps
class Mine(Base):
    pass
@dlzoo.NORMS.register("script_norm")
def script_norm(*, channels: int, eps: float = EPS if "EPS" in globals() else 1.0) -> nn.Module:
    return Mine()
dlzoo.NORMS.register("script_identity")(nn.Identity)
raise_if_run = trained = dlzoo.available("norm")
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[ModuleType]:
    """A script that registers norms, as it is imported."""
    module = ModuleType("a_script")
    module.__file__ = str(tmp_path / "a_script.py")
    Path(module.__file__).write_text(SCRIPT)
    sys.modules["a_script"] = module
    exec(compile(SCRIPT, module.__file__, "exec"), vars(module))
    yield module
    del sys.modules["a_script"]
    for name in ("script_norm", "script_identity"):
        NORMS._own[""].pop(name, None)
    own_parts.count_registration()


def test_only_what_an_entry_needs_is_taken(script: ModuleType, tmp_path: Path) -> None:
    source = own_source.source_of([NORMS["script_norm"]])
    assert "class Base" in source and "FACTOR = 3.0" in source and source.startswith("from __future__")
    assert "unused" not in source and "script_identity" not in source and "trained" not in source
    (tmp_path / "copy.py").write_text(source)
    file = PartsFile.read(tmp_path / "copy.py")
    load_parts_file(file)
    with own_parts.using([file], only=True):
        built = dlzoo.build("norm", "script_norm", channels=3)
        assert type(built) is not script.Mine and type(built).__name__ == "Mine"
        assert built(built.train().weight if hasattr(built, "weight") else __import__("torch").ones(1)).item() == 3.0


def test_an_entry_of_this_process_is_available_at_once(script: ModuleType) -> None:
    assert {"script_norm", "script_identity"} < {*dlzoo.available("norm")}
    assert type(dlzoo.build("norm", "script_norm", channels=3)) is script.Mine


def test_entries_of_one_name_in_two_registries_are_told_apart(script: ModuleType) -> None:
    more = """
registry = dlzoo.ACTS
@dlzoo.NORMS.register("script_both")
def both(*, channels: int) -> nn.Module: return nn.Identity(1)
@registry.register("script_both")
def both() -> nn.Module: return nn.Identity(2)
"""
    assert script.__file__ is not None
    Path(script.__file__).write_text(SCRIPT + more)
    exec(more, vars(script))
    try:
        sources = {choice: own_source.source_of([REGISTRIES[choice]["script_both"]]) for choice in ("norm", "act")}
        assert "Identity(1)" in sources["norm"] and "Identity(2)" not in sources["norm"]
        assert "Identity(2)" in sources["act"] and "Identity(1)" not in sources["act"]
        together = own_source.source_of([REGISTRIES[choice]["script_both"] for choice in ("norm", "act")])
        assert "Identity(1)" in together and "Identity(2)" in together
    finally:
        for choice in ("norm", "act"):
            del REGISTRIES[choice]._own[""]["script_both"]
        own_parts.count_registration()


def test_what_no_statement_registers_is_refused(script: ModuleType) -> None:
    for name in "xy":
        vars(script)["name"] = f"loop_{name}"
        exec("dlzoo.NORMS.register(name)(nn.Identity)", vars(script))
    with pytest.raises(UserError, match=r"norm=loop_x .* its source cannot be found; put it into a file .* parts="):
        own_source.source_of([NORMS["loop_x"]])
    for name in "xy":
        del NORMS._own[""][f"loop_{name}"]


def test_a_notebook_is_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = ModuleType("cells")
    cells = ["", "import dlzoo\nfrom torch import nn", "this is ( broken", "k = 1", "k = 2"]
    cells += [
        "@dlzoo.NORMS.register('cell_norm')\ndef cell_norm(*, channels: int) -> nn.Module:\n    return nn.Identity(k)"
    ]
    vars(notebook)["In"] = cells
    monkeypatch.setitem(sys.modules, "cells", notebook)
    for cell in cells:
        if "broken" not in cell:
            exec(cell, vars(notebook))
    entry = NORMS["cell_norm"]
    source = own_source.source_of([entry])
    assert own_source.module_file(entry) == "notebook.py"
    assert "k = 2" in source and "k = 1" not in source
    del NORMS._own[""]["cell_norm"]
    own_parts.count_registration()
