"""`dlzoo predict`: words beside the files, and files that are no images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dlzoo.builder.predict import predict
from dlzoo.cli import main
from dlzoo.config.settings import PredictSettings
from dlzoo.core.errors import Note, UserError
from tests.small import SMALL, TINY, train


def truncated(path: Path) -> None:
    Image.effect_noise((32, 32), 50).save(path)
    path.write_bytes(path.read_bytes()[:200])


BAD: dict[str, Callable[[Path], object]] = {
    "truncated": truncated,
    "text": lambda path: path.write_text("no image"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("nowhere"),
}


@pytest.fixture(scope="module", params=["classify", "detect", "segment"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = {"classify": SMALL, "detect": TINY, "segment": [*TINY, "model=unet_tiny", "model.width=4"]}[request.param]
    return train(*words, "trainer.max_epochs=1", f"run_dir={tmp_path_factory.mktemp('run') / 'r'}").dir


@pytest.mark.parametrize("how", BAD)
def test_of_four_files_one_is_bad(run: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture) -> None:
    os.chdir(tmp_path)
    for name in ("a.png", "b.png", "d.png"):
        Image.new("RGB", (32, 24), "red").save(name)
    BAD[how](Path("c.png"))
    files = ["a.png", "b.png", "c.png", "d.png"]
    with pytest.raises(UserError, match=r"^c\.png: "):
        predict(str(run), files)
    with pytest.warns(Note, match=r"^1 of 4 image\(s\) left out: c\.png; the first: c\.png: "):
        assert main(["predict", f"run={run}", *files, "on_bad=skip", "--json"]) == 0
    assert [answer["file"] for answer in json.loads(capsys.readouterr().out)] == ["a.png", "b.png", "d.png"]
    with pytest.raises(UserError, match=r"^2 of 2 image\(s\) left out: c\.png, c\.png; the first: c\.png: "):
        predict(str(run), ["c.png", "c.png"], settings=PredictSettings(on_bad="skip"))


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("on_bad=ignore", "on_bad must be error or skip, not 'ignore'"),
        ("on_bad=", "on_bad must be error or skip, not ''"),
        ("full_size=2", "full_size must be true or false, not 2"),
    ],
)
def test_a_wrong_value_is_one_line(word: str, says: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["predict", "run=r", "a.png", word]) == 2
    assert capsys.readouterr().err == f"dlzoo: {says}\n"


def test_a_large_picture_is_drawn_smaller_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(*TINY, "trainer.max_epochs=1", "run_dir=r").dir
    Image.new("RGB", (2100, 2100)).save("a.png")
    for words, side in (([], 2000), (["full_size=true"], 2100), (["full_size=false"], 2000)):
        assert main(["predict", f"run={run}", "a.png", *words]) == 0
        with Image.open("r/predictions/a-found.png") as drawn:
            assert drawn.size == (side, side)
