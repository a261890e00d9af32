"""Lines of YOLO texts as other programs write them: polygons, rotated boxes, poses, classes in other spellings."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from dlzoo.core.errors import Note
from dlzoo.data.box_set import BoxSet
from tests.box_files import in_pictures, load, photo

pytestmark = pytest.mark.usefixtures("cache_home")


def read(root: Path, text: str | bytes, **settings: str) -> BoxSet:
    """A text for the first of the pictures of train, 30x20; the others have one box."""
    for part, count in (("train", 2), ("val", 1)):
        for index in range(count):
            photo(root / part / "images" / f"{index}.png")
            (root / part / "labels").mkdir(exist_ok=True)
            (root / part / "labels" / f"{index}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "train" / "labels" / "0.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load("yolo_txt", root, **settings)


@pytest.mark.filterwarnings("ignore:.*set data.leaks=drop")
@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.1 0.2 0.9 0.2 0.5 0.8", (3, 4, 27, 16)),  # a triangle
        ("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", (3, 2, 27, 18)),  # a box that is rotated by 45 degrees
        ("0 0.2 0.2 0.4 0.1 0.6 0.2 0.6 0.6 0.2 0.6", (6, 2, 18, 12)),
    ],
)
def test_polygons_are_read_as_their_boxes_and_counted(line: str, box: tuple, tmp_path: Path) -> None:
    with pytest.warns(Note, match=r"^2 polygon\(s\) or rotated box\(es\) are read as the upright boxes") as noted:
        data = read(tmp_path, f"{line}\n0 0.5 0.5 0.5 0.5\n{line}\n")
    assert in_pictures(data.train)[0] == [(*box, 0, 0), (7.5, 5, 22.5, 15, 0, 0), (*box, 0, 0)]
    assert sum("polygon(s)" in str(each.message) for each in noted) == 1


@pytest.mark.parametrize("points", ["0.1 0.1 0.9 0.9", "0.1 0.1 2 0.9 0.9 2"])
def test_lines_of_poses_begin_with_a_box(points: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 3]\nnames: [x]\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = read(tmp_path, f"0 0.5 0.5 0.2 0.2 {points}\n")
    assert in_pictures(data.train)[0] == [(12, 8, 18, 12, 0, 0)]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("word", ["1", "1.0", "1.", "1e0", "1.000000000000000000e+00"])
def test_spellings_of_a_class(word: str, named: bool, tmp_path: Path) -> None:
    if named:
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
    data = read(tmp_path, f"{word} 0.5 0.5 0.2 0.2\n")
    assert data.classes == (("cat", "dog") if named else ("0", "1"))
    assert in_pictures(data.train)[0] == [(12, 8, 18, 12, 1, 0)]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("on_bad", ["skip", "clip"])
def test_a_text_in_another_encoding_is_a_bad_image(on_bad: str, named: bool, tmp_path: Path) -> None:
    if named:
        (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.warns(Note, match=r"^1 bad image\(s\) left out, the first: .*0\.txt: not UTF-8 text"):
        data = read(tmp_path, "0 0.5 0.5 0.2 0.2\n".encode("utf-16"), on_bad=on_bad)
    assert (len(data.train), data.skipped) == (1, 1)
