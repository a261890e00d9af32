"""The range of 16-bit images: what is measured, rounded, noted, recorded and refused."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dlzoo
from dlzoo.builder.evaluate import evaluate
from dlzoo.builder.predict import predict
from dlzoo.core.errors import Note, UserError
from dlzoo.data.storage import value_range as module
from dlzoo.data.storage.image_file import FULL_RANGE
from dlzoo.data.storage.value_range import conversion_for, round_range

pytestmark = pytest.mark.usefixtures("cache_home")


def save(path: Path, *values: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, np.uint16), (12, 12))).save(path)
    return path


@pytest.mark.parametrize(
    ("measured", "rounded"),
    [
        ((0, 4095), (0, 4095)),
        ((3, 4090), (0, 4095)),
        ((0, 1023), (0, 1023)),
        ((12, 65501), (0, 65535)),
        ((0, 255), (0, 255)),
        ((200, 3000), (200, 3000)),
        ((203, 2998), (200, 3000)),
        ((28000, 28250), (28000, 28250)),
        ((28003, 28251), (28003, 28251)),
        ((40001, 65534), (40000, 65535)),
        ((17, 17), (0, 255)),
        ((5000, 5000), (0, 8191)),
    ],
)
def test_a_range_is_rounded_to_bits_or_to_a_hundredth(measured: tuple[int, int], rounded: tuple[int, int]) -> None:
    assert round_range(*measured) == rounded
    assert round_range(*rounded) == rounded


@pytest.mark.parametrize("suffix", ["png", "tif", ""])
@pytest.mark.parametrize("cache", ["none", "disk"])
def test_auto_is_measured_once_and_says_so(
    tmp_path: Path, suffix: str, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path / f"{number}.{suffix or 'png'}", 100, 100 + 1000 * number) for number in range(3)]
    if not suffix:
        paths = [path.rename(path.with_suffix("")) for path in paths]
    looked, measure = [], module._measure
    monkeypatch.setattr(module, "_measure", lambda paths: looked.append(len(paths)) or measure(paths))
    for _ in range(2):
        with pytest.warns(Note, match=r"16-bit images are read as 100 to 2100,.*data\.range=\[low,high\]"):
            conversion = conversion_for(tmp_path, paths, background="white", value_range="auto")
        assert conversion.value_range == (100, 2100)
    assert looked == [3]


def test_images_of_eight_bits_are_not_decoded_and_jpegs_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "open_image", lambda path: pytest.fail(f"{path} was opened"))
    paths = [tmp_path / "a.png", tmp_path / "gone.jpg", tmp_path / "gone.JPEG"]
    monkeypatch.setattr(module, "remember", lambda what, name, stamp, find: find())
    for name in ("gone.jpg", "gone.JPEG"):
        (tmp_path / name).write_bytes(b"")
    assert conversion_for(tmp_path, paths, background="white", value_range="auto").value_range == FULL_RANGE


@pytest.mark.parametrize("value_range", [(), (1,), (5, 5), (9, 2), (0, 65536), (-1, 9), (0, 1, 2)])
def test_a_range_that_is_none_is_refused(tmp_path: Path, value_range: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"data\.range=\[.*\] must be auto, or two values of 0 to 65535"):
        conversion_for(tmp_path, [], background="white", value_range=value_range)


@pytest.mark.filterwarnings("ignore:.*set data.leaks=drop")
def test_the_range_of_the_training_images_is_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for part, name, low in (("train", "a", 28000), ("train", "b", 28100), ("test", "a", 100), ("test", "b", 60000)):
        for number in range(4):
            save(tmp_path / "set" / part / name / f"{number}.png", low, low + 150 - number)
    words = ["data=image_folder", "data.root=set", "data.batch_size=2", "data.val_fraction=0", "model=linear"]
    with pytest.warns(Note, match="28000 to 28250"):
        dlzoo.train([*words, "trainer=cpu", "trainer.max_epochs=1", "run_dir=r"], quiet=True)
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert record["value_range"] == [28000, 28250]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "16 bits|28000 to")  # the recorded range is used, and not measured again
        assert evaluate("r") == {key: value for key, value in record["metrics"].items() if key.startswith("test/")}
        assert evaluate("r", ["data.cache=none"]) == evaluate("r")
    files = [str(save(tmp_path / f"{value}.png", value)) for value in (0, 28000, 28125, 28250, 65535)]
    first, same, middle, last, beyond = (answer["classes"] for answer in predict("r", files))
    assert first == same
    assert last == beyond
    assert first != middle != last


def test_deep_images_of_a_run_with_eight_bits_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, grey in (("a", 10), ("b", 200)):
        for number in range(4):
            (tmp_path / "set" / "train" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (12, 12), grey + number).save(tmp_path / "set" / "train" / name / f"{number}.png")
            save(tmp_path / "set" / "test" / name / f"{number}.png", grey * 256 + number)
    words = ["data=image_folder", "data.root=set", "data.batch_size=2", "data.val_fraction=0", "model=linear"]
    says = r"8 image\(s\) of val or test, such as set/test/a/0\.png, have 16 bits.*range 0 to 65535; set data\.range="
    with pytest.warns(Note, match=says):
        dlzoo.train([*words, "trainer=cpu", "trainer.max_epochs=1", "run_dir=r"], quiet=True)
    files = ["set/train/a/0.png", "set/test/b/1.png", "set/test/b/2.png"]
    with pytest.warns(Note, match=r"^2 of 3 image\(s\), such as set/test/b/1\.png, have 16 bits.* range 0 to 65535"):
        predict("r", files)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*16 bits")
        predict("r", files[:1])
        conversion_for(tmp_path, [], map(Path, files), background="white", value_range=(0, 99))
