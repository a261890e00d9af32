"""data.on_bad=clip: what is wrong with a box costs the box, or what of it is outside; other faults the image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlzoo.core.errors import Note, UserError
from tests.box_files import in_pictures, load, photo

pytestmark = pytest.mark.usefixtures("cache_home")

GOOD = (3.0, 4, 12, 14)
#: x1, y1, x2, y2 in a picture of 30x20 -> what of it is left.
BOXES = {
    "no width": ((5, 5, 5, 9), None),
    "no height": ((5, 5, 9, 5), None),
    "negative": ((9, 9, 5, 5), None),
    "beside": ((40, 5, 50, 9), None),
    "above": ((5, -9, 9, -3), None),
    "out on the right": ((20, 5, 50, 9), (20, 5, 30, 9)),
    "out everywhere": ((-30, -30, 60, 60), (0, 0, 30, 20)),
}


def write_coco(root: Path, boxes: list[tuple]) -> None:
    images = [{"id": index, "file_name": f"{index}.png"} for index in range(5)]
    things = [{"image_id": 0, "category_id": 0, "bbox": [a, b, c - a, d - b]} for a, b, c, d in boxes]
    things += [{"image_id": index, "category_id": 0, "bbox": [3, 4, 9, 10]} for index in range(1, 5)]
    for name, some in (("train", things), ("val", things[-1:])):
        (root / name).mkdir()
        (root / name / "_annotations.coco.json").write_text(
            json.dumps({"images": images, "annotations": some, "categories": [{"id": 0, "name": "x"}]})
        )


def write_yolo(root: Path, boxes: list[tuple]) -> None:
    def line(box: tuple) -> str:
        a, b, c, d = box
        return f"0 {(a + c) / 60} {(b + d) / 40} {(c - a) / 30} {(d - b) / 20}\n"

    for part in ("train", "val"):
        (root / part / "labels").mkdir(parents=True)
        for index in range(5):
            text = "".join(map(line, boxes if part == "train" and index == 0 else [GOOD]))
            (root / part / "labels" / f"{index}.txt").write_text(text)


def write_xml(root: Path, boxes: list[tuple]) -> None:
    def thing(box: tuple) -> str:
        a, b, c, d = box
        edges = f"<xmin>{a + 1}</xmin><ymin>{b + 1}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        return f"<object><name>x</name><bndbox>{edges}</bndbox></object>"

    for part in ("train", "val"):
        for index in range(5):
            things = "".join(map(thing, boxes if part == "train" and index == 0 else [GOOD]))
            path = root / part / f"{index}.xml"
            path.parent.mkdir(exist_ok=True)
            size = "<size><width>0</width><height>0</height></size>"
            path.write_text(f"<annotation>{size}{things}</annotation>")


WRITERS = {"coco_json": (write_coco, ""), "yolo_txt": (write_yolo, "images"), "voc_xml": (write_xml, "")}


def folder(tmp_path: Path, name: str, boxes: list[tuple]) -> Path:
    write, images = WRITERS[name]
    write(tmp_path, boxes)
    for part in ("train", "val"):
        for index in range(5):
            photo(tmp_path / part / images / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("what", BOXES)
def test_a_bad_box_is_clipped_or_left_out_and_counted(name: str, what: str, tmp_path: Path) -> None:
    box, left = BOXES[what]
    root = folder(tmp_path, name, [box, GOOD])
    with pytest.raises(UserError, match=r"the box .*data\.on_bad=clip clips such boxes.*data\.on_bad=skip"):
        load(name, root)
    with pytest.warns(Note, match=r"^1 bad box\(es\) clipped or left out, the first: .*the box") as noted:
        data = load(name, root, on_bad="clip")
    expected = [(*map(float, each), 0, 0) for each in (left, GOOD) if each]
    assert in_pictures(data.train)[0] == expected
    assert (len(data.train), data.skipped, len(noted)) == (5, 0, 1)


def test_all_bad_boxes_are_counted_and_an_image_may_be_left_without_any(tmp_path: Path) -> None:
    root = folder(tmp_path, "yolo_txt", [box for box, _ in BOXES.values() if box[2] <= box[0] or box[3] <= box[1]])
    with pytest.warns(Note, match=r"^3 bad box\(es\)"):
        data = load("yolo_txt", root, on_bad="clip")
    assert [len(rows) for rows in in_pictures(data.train)] == [0, 1, 1, 1, 1]


def test_with_clip_other_faults_cost_the_image(tmp_path: Path) -> None:
    root = folder(tmp_path, "yolo_txt", [GOOD, (5, 5, 5, 5)])
    (root / "train" / "images" / "1.png").write_bytes(b"no picture")
    (root / "train" / "labels" / "2.txt").write_text("0 0.5 words 1 1\n")
    (root / "train" / "labels" / "3.txt").write_text("0 0.5 0.5 0.5 0.5\n0 nan 0.5 0.5 0.5\n")
    with pytest.warns(Note) as noted:
        data = load("yolo_txt", root, on_bad="clip")
    said = [str(each.message).partition(",")[0] for each in noted]
    assert said == ["2 bad image(s) left out", "2 bad box(es) clipped or left out"]
    assert ([len(rows) for rows in in_pictures(data.train)], data.skipped) == ([1, 1, 1], 2)
