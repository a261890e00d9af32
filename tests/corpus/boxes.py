"""Annotations of objects that cannot be read, or learnt from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.corpus.case import Case

_YOLO = "train data=yolo_txt data.root=d data.image_size=32 model=yolo_tiny data.batch_size=2"
_COCO = "train data=coco_json data.root=d data.image_size=32 model=yolo_tiny data.batch_size=2"
_VOC = "train data=voc2007 data.root=d data.image_size=32 model=yolo_tiny data.batch_size=2"
Make = Callable[[Path, Path], None]


def copy(name: str, change: Callable[[Path], object]) -> Make:
    def make(folder: Path, base: Path) -> None:
        shutil.copytree(base / name, folder / "d")
        change(folder / "d")

    return make


def _text(content: str | bytes) -> Make:
    data = content.encode() if isinstance(content, str) else content
    return copy("yolo", lambda root: (root / "labels" / "train" / "2.txt").write_bytes(data))


def _yaml(content: str | bytes) -> Make:
    data = content.encode() if isinstance(content, str) else content
    return copy("yolo", lambda root: (root / "data.yaml").write_bytes(data))


def _coco(change: Callable[[dict[str, Any]], object]) -> Make:
    def edit(root: Path) -> None:
        path = root / "annotations" / "instances_train.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return copy("coco", edit)


def _raw(content: str | bytes) -> Make:
    data = content.encode() if isinstance(content, str) else content
    return copy("coco", lambda root: (root / "annotations" / "instances_train.json").write_bytes(data))


def _set(section: str, **values: Any) -> Make:
    return _coco(lambda content: content[section][1].update(values))


def _xml(old: str, new: str) -> Make:
    def edit(root: Path) -> None:
        path = root / "VOC2007" / "Annotations" / "2.xml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return copy("voc", edit)


def _list(part: str, content: str | bytes) -> Make:
    data = content.encode() if isinstance(content, str) else content
    return copy("voc", lambda root: (root / "VOC2007" / "ImageSets" / "Main" / f"{part}.txt").write_bytes(data))


KINDS: dict[str, list[Case]] = {
    "lines of YOLO texts": [
        Case(_YOLO, "2.txt", _text(line))
        for line in (
            "0 0.5 0.5 0.2",
            "0 0.5 0.5 0.2 0.2 0.9",
            "0",
            "a 0.5 0.5 0.2 0.2",
            "0 a 0.5 0.2 0.2",
            "-1 0.5 0.5 0.2 0.2",
            "12345678 0.5 0.5 0.2 0.2",
            "0.5 0.5 0.5 0.2 0.2",
            "0,0.5,0.5,0.2,0.2",
            "0 nan 0.5 0.2 0.2",
            "0 inf 0.5 0.2 0.2",
            "{",
            "0 0,5 0,5 0,2 0,2",
            "99999999999 0.5 0.5 0.2 0.2",
        )
    ],
    "boxes of YOLO texts": [
        Case(_YOLO, "2.txt", _text(line))
        for line in (
            "0 0.5 0.5 0 0.2",
            "0 0.5 0.5 0.2 0",
            "0 0.5 0.5 -0.2 0.2",
            "0 1.5 0.5 0.2 0.2",
            "0 20 30 10 10",
            "0 0.5 0.5 1.5 0.2",
            "0 -0.5 0.5 0.2 0.2",
            "0 0.5 0.5 1e-30 1e-400",
        )
    ],
    "YOLO texts that are no text": [
        Case(_YOLO, "2.txt", _text(content))
        for content in (
            b"\xff\xfe0\x00",
            "0 0.5 0.5 0.2 0.2".encode("utf-16"),
            b"\x00\x00",
            b"\x89PNG\r\n",
            b"\xe4 0.5 0.5 0.2 0.2",
        )
    ],
    "data.yaml that is not well-formed": [
        Case(_YOLO, "data.yaml", _yaml(content))
        for content in (
            "names: [a",
            "names:\n\t- a",
            b"names: [\xe4]",
            "a: b: c",
            "names: *x",
            "[" * 3000,
            "names: 'a",
            "names: {0: a, 0: b",
            b"\x00\x01",
            "date: 2020-99-99",
        )
    ],
    "names of classes": [
        Case(_YOLO, "names", _yaml(content))
        for content in (
            "names: 5",
            "names: []",
            "names: [a, a]",
            "names: {1: a, 2: b}",
            "names: [a, '']",
            "names: {a: 0}",
            "names: [[a]]",
            "names: true",
            "names: [yes, no]",
            "names: {0: a, 2: b}",
        )
    ],
    "parts that data.yaml names": [
        Case(_YOLO, "data.yaml", _yaml(f"names: [a, b]\n{content}"))
        for content in (
            "train: 5",
            "train: images/train\nval: nowhere",
            "train: [1]",
            "train: {a: b}",
            "train: images/train\nval: [5]",
            "train: true\n",
        )
    ],
    "folders of YOLO data": [
        Case("train data=yolo_txt", "data.root"),
        Case(_YOLO, "d"),
        Case(_YOLO, "d", lambda folder, base: (folder / "d").mkdir()),
        Case(_YOLO, "labels", copy("yolo", lambda root: shutil.rmtree(root / "labels"))),
        Case(_YOLO, "images", copy("yolo", lambda root: shutil.rmtree(root / "images"))),
        Case(_YOLO, "train", copy("yolo", lambda root: shutil.rmtree(root / "images" / "train"))),
        Case(
            _YOLO, "9.txt", copy("yolo", lambda root: (root / "labels" / "train" / "9.txt").write_text("0 .5 .5 .2 .2"))
        ),
        Case(
            _YOLO,
            "same name",
            copy("yolo", lambda root: shutil.copy(root / "images/train/1.png", root / "images/train/1.jpg")),
        ),
        Case(_YOLO, "pipe", copy("yolo", lambda root: os.mkfifo(root / "images" / "train" / "pipe.png"))),
        Case(_YOLO, "classes.txt", copy("yolo", lambda root: (root / "classes.txt").write_text("a\na\n"))),
        Case(_YOLO, "classes.txt", copy("yolo", lambda root: (root / "classes.txt").write_text("\n\n"))),
        Case(
            _YOLO,
            "objects",
            copy("yolo", lambda root: [path.write_text("") for path in (root / "labels" / "train").iterdir()]),
        ),
    ],
    "COCO files that are no JSON objects": [
        Case(_COCO, "instances_train.json", _raw(content))
        for content in (
            "",
            "[]",
            "null",
            "{",
            '{"images": 5}',
            "5",
            b"\xff\xfe",
            '{"images": [], "annotations": [], "categories": []}',
            "[" * 100_000,
            '{"images": ' + "9" * 5000 + "}",
            "{'images': []}",
            '{"images": [1], "annotations": [], "categories": []}',
        )
    ],
    "images of COCO files": [
        Case(_COCO, "instances_train.json", make)
        for make in (
            _set("images", id="x" * 3),
            _set("images", file_name=5),
            _set("images", file_name="none.png"),
            _set("images", width=999),
            _set("images", width="wide"),
            _set("images", id=1),
            _set("images", id=None),
            _set("images", file_name=None),
            _set("images", height=1.5),
            _coco(lambda content: content["images"][1].pop("file_name")),
            _coco(lambda content: content["images"][1].pop("id")),
            _coco(lambda content: content.pop("images")),
        )
    ],
    "annotations of COCO files": [
        Case(_COCO, "instances_train.json", make)
        for make in (
            _set("annotations", bbox=[1, 2, 3]),
            _set("annotations", bbox=[1, 2, 0, 3]),
            _set("annotations", bbox=[1, 2, -3, 3]),
            _set("annotations", bbox="1,2,3,4"),
            _set("annotations", bbox=[1, 2, "3", 4]),
            _set("annotations", bbox=[900, 2, 3, 4]),
            _set("annotations", bbox=None),
            _set("annotations", category_id=77),
            _set("annotations", category_id="x"),
            _set("annotations", image_id=77),
            _set("annotations", image_id=None),
            _set("annotations", bbox=[1e300, 2, 3, 4]),
            _set("annotations", iscrowd="x"),
            _coco(lambda content: content["annotations"][1].pop("bbox")),
            _coco(lambda content: content["annotations"][1].pop("category_id")),
            _coco(lambda content: content.pop("annotations")),
            _coco(lambda content: content["annotations"].append(5)),
            _set("annotations", bbox=[float("nan")] * 4),
        )
    ],
    "categories of COCO files": [
        Case(_COCO, "instances_train.json", make)
        for make in (
            _coco(lambda content: content.pop("categories")),
            _coco(lambda content: content["categories"][1].update(id=1)),
            _coco(lambda content: content["categories"][1].update(name=content["categories"][0]["name"])),
            _coco(lambda content: content["categories"][1].pop("name")),
            _coco(lambda content: content["categories"][1].update(name=5)),
            _coco(lambda content: content["categories"][1].update(id="b")),
            _coco(lambda content: content["categories"].clear()),
        )
    ],
    "files that COCO data lacks": [
        Case("train data=coco_json", "data.root"),
        Case(_COCO, "d"),
        Case(_COCO, "d", lambda folder, base: (folder / "d").mkdir()),
        Case(f"{_COCO} data.train=none.json", "none.json", copy("coco", lambda root: None)),
        Case(f"{_COCO} data.images=none", "none", copy("coco", lambda root: None)),
        Case(_COCO, "", copy("coco", lambda root: shutil.rmtree(root / "images"))),
        Case(
            _COCO,
            "could each be",
            copy(
                "coco",
                lambda root: shutil.copy(
                    root / "annotations/instances_train.json", root / "annotations/instances_train2.json"
                ),
            ),
        ),
    ],
    "names of COCO files that lead elsewhere": [
        Case(_COCO, "instances_train.json", _set("images", file_name=name))
        for name in (
            "/etc/passwd",
            "../../../etc/passwd",
            "https://x.org/a.png",
            "C:\\pics\\a.png",
            "",
            "images/../../../x.png",
            "a\x00b.png",
        )
    ],
    "VOC annotations": [
        Case(_VOC, "2.xml", make)
        for make in (
            _xml("<annotation>", "<annotatio>"),
            _xml("</annotation>", ""),
            _xml("<name>cat</name>", "<name>unicorn</name>"),
            _xml("<name>cat</name>", ""),
            _xml("<xmin>3</xmin>", "<xmin>x</xmin>"),
            _xml("<xmin>3</xmin>", ""),
            _xml("<xmin>3</xmin>", "<xmin>900</xmin>"),
            _xml("<xmin>3</xmin>", "<xmin>nan</xmin>"),
            _xml("<xmin>3</xmin>", "<xmin>-50</xmin>"),
            _xml("<width>24</width>", "<width>99</width>"),
            _xml("<width>24</width>", "<width>x</width>"),
            _xml("<annotation>", "<!DOCTYPE x [<!ENTITY a 'b'>]><annotation>&a;"),
        )
    ],
    "VOC lists": [
        Case(_VOC, "trainval", _list("trainval", content))
        for content in ("", "\n\n", "1\n1\n", "77\n", b"\xff\xfe\n", "1 2 3 4\n", "../../x\n")
    ],
    "files that VOC data lacks": [
        Case("train data=voc2007 data.root=nowhere", "VOC2007"),
        Case("train data=voc2012 data.root=d", "VOC2012", copy("voc", lambda root: None)),
        Case("train data=voc0712 data.root=d", "VOC2012", copy("voc", lambda root: None)),
        Case(_VOC, "2.xml", copy("voc", lambda root: (root / "VOC2007/Annotations/2.xml").unlink())),
        Case(_VOC, "2.", copy("voc", lambda root: (root / "VOC2007/JPEGImages/2.jpg").unlink())),
        Case(_VOC, "trainval", copy("voc", lambda root: (root / "VOC2007/ImageSets/Main/trainval.txt").unlink())),
        Case(_VOC, "2.jpg", copy("voc", lambda root: (root / "VOC2007/JPEGImages/2.jpg").write_bytes(b"no image"))),
    ],
    "settings of detectors": [
        Case(f"{_YOLO} {words}", says, copy("yolo", lambda root: None))
        for words, says in (
            ("data.image_size=33", ""),
            ("data.fit=crop", "data.fit"),
            ("data.on_bad=ignore", "data.on_bad"),
            ("nms.iou=2", "nms.iou"),
            ("nms=soft_nms", "nms"),
            ("box_loss=iuo", "box_loss"),
            ("augment.mosaic=2", "augment.mosaic"),
            ("backbone=mlp", "backbone"),
            ("backbone=resnet81", "resnet18"),
            ("neck=fpm", "fpn"),
            ("model.anchors=[1,2,3]", "model.anchors"),
            ("model=ssd300 model.anchors=[1]", ""),
            ("'augment.multi_scale=[0]'", "multi_scale"),
            ("model.ignore_iou=3", "ignore_iou"),
            ("loss=hinge", "hinge"),
        )
    ],
}
