"""The index and the plug-ins of other packages: when it is made anew, and what is left out of it."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlzoo.core import index, plug_ins, stamp
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.registry import Registry
from dlzoo.core.stamp import stamp_of_sources


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> Path:
    """A folder of plug-ins: one_file.py, pack/ and broken.py, which imports what is absent."""
    (tmp_path / "one_file.py").write_text("beta = 0.1")
    (tmp_path / "broken.py").write_text("import not_there_yet")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "acts.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    modules = ("one_file", "pack.acts", "broken", "absent", "sys")
    points = [EntryPoint(name, name, "dlzoo.act") for name in modules]
    for module in (stamp, plug_ins):
        monkeypatch.setattr(module, "entry_points", lambda group: points if group == "dlzoo.act" else [])
    monkeypatch.setattr(EntryPoint, "dist", None, raising=False)
    monkeypatch.setattr(stamp, "PACKAGE", tmp_path / "pack")
    return tmp_path


@pytest.mark.parametrize("name", ["one_file.py", "pack/acts.py", "pack/__init__.py", "broken.py", "absent.py"])
def test_a_change_of_any_plug_in_makes_the_index_anew(name: str, site: Path) -> None:
    before = stamp_of_sources(REGISTRIES)
    assert stamp_of_sources(REGISTRIES) == before
    (site / name).write_text("something = 'else'")
    assert stamp_of_sources(REGISTRIES) != before


@pytest.fixture
def cached(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache; the registries have no entry but those of a test."""
    monkeypatch.setattr(index, "_REGISTRIES", {})
    monkeypatch.setattr(index, "of_packages", index.of_packages.__wrapped__)
    return site / "cache" / "dlzoo"


def test_an_index_without_docstrings_is_cached_apart(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for level, files in ((0, 1), (1, 1), (2, 2), (0, 2)):
        flags = SimpleNamespace(optimize=level)
        monkeypatch.setattr(index, "sys", SimpleNamespace(flags=flags, stderr=sys.stderr))
        monkeypatch.setattr(plug_ins, "load", lambda choice: True)
        index.of_packages()
        assert len([*cached.glob("index-*.json")]) == files


def test_a_plug_in_that_cannot_be_imported_is_tried_again_and_said(
    cached: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(index, "_REGISTRIES", {"act": Registry("act", "dlzoo.layers", "")})
    plug_ins.load.cache_clear()
    index.of_packages()
    said = capsys.readouterr().err.splitlines()
    assert "dlzoo: plug-in broken is left out: No module named 'not_there_yet'" in said
    assert "dlzoo: plug-in absent is left out: No module named 'absent'" in said
    assert not [*cached.glob("*")]
    for name in ("not_there_yet", "absent"):
        (cached.parents[1] / f"{name}.py").touch()
    plug_ins.load.cache_clear()
    index.of_packages()
    assert "left out" not in capsys.readouterr().err
    assert [*cached.glob("index-*.json")]
    plug_ins.load.cache_clear()


def test_an_entry_that_cannot_be_described_is_left_out_and_said_each_time(
    cached: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def path(*, p: Path = Path("x")) -> None: ...
    def default(*, p: str = Path("x")) -> None: ...  # type: ignore[assignment]
    def unknown(*, p: "Nothing" = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037
    def fine(*, p: str = "x") -> None: ...

    odd = Registry("act", "dlzoo.boxes", "")
    monkeypatch.setattr(plug_ins, "_loading", ["act"])
    for builder in (path, default, unknown, fine):
        odd.register(builder.__name__, source="mine")(builder)
    monkeypatch.setattr(index, "_REGISTRIES", {"act": odd})
    monkeypatch.setattr(plug_ins, "load", lambda choice: True)
    for _ in range(2):
        found = index.of_packages()
        assert {"path", "default", "unknown", "fine"} & {*found["act"]["entries"]} == {"fine"}
        said = capsys.readouterr().err.splitlines()
        assert [line.split()[1] for line in said] == ["act=default", "act=path", "act=unknown"]
        assert all(f"of {__name__} is left out: " in line for line in said)
