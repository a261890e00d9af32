"""One's own pictures with objects: COCO and YOLO files in their own formats, good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.show.anchors import anchors
from tests.box_files import in_pictures, load, photo, sizes_of
from tests.small import train

pytestmark = pytest.mark.usefixtures("cache_home")
#: For sets of which the same pictures are used twice.
same_pictures = pytest.mark.filterwarnings("ignore:.*set data.leaks=drop")

# COCO


def coco(categories: list | None = None, **parts: list) -> dict:
    """The content of a file of two pictures: a cat, a crowd of dogs; nothing."""
    images = [
        {"id": 7, "file_name": "a.jpg", "width": 30, "height": 20},
        {"id": 3, "file_name": "deep/b.png", "width": 20, "height": 40},
    ]
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1.5, 2, 10, 12.25], "iscrowd": 0, "area": 122.5},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [0, 0, 30, 20], "iscrowd": 1},
    ]
    categories = categories or [{"id": 90, "name": "cat"}, {"id": 5, "name": "dog"}]
    return {"info": {"a": [{}]}, "images": images, "annotations": annotations, "categories": categories} | parts


def write_coco(root: Path, file: str, pictures: str, content: dict) -> Path:
    photo(root / pictures / "a.jpg")
    photo(root / pictures / "deep" / "b.png", 20, 40)
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))
    return path


#: The file of train and of val, and the folders of their pictures.
LAYOUTS = [
    ("annotations/instances_train2017.json", "train2017", "annotations/instances_val2017.json", "val2017"),
    ("annotations/instances_train.json", "images/train", "annotations/instances_val.json", "images/val"),
    ("train/_annotations.coco.json", "train", "valid/_annotations.coco.json", "valid"),
    ("annotations/train.json", "images", "annotations/val.json", "images"),
    ("train.json", "", "val.json", ""),
]


@same_pictures
@pytest.mark.parametrize(("train", "train_pictures", "val", "val_pictures"), LAYOUTS)
def test_coco_in_its_own_format_and_layouts(
    tmp_path: Path, train: str, train_pictures: str, val: str, val_pictures: str
) -> None:
    root = tmp_path / "coco"
    write_coco(root, train, train_pictures, coco())
    # Another file may number the same classes otherwise.
    write_coco(root, val, val_pictures, coco([{"id": 5, "name": "cat"}, {"id": 90, "name": "dog"}]))
    data = load("coco_json", root)
    assert (data.classes, data.val) == (("dog", "cat"), None)
    assert sizes_of(data.train).tolist() == [[30, 20], [20, 40]]
    assert in_pictures(data.train) == [[(1.5, 2, 11.5, 14.25, 1, 0), (0, 0, 30, 20, 0, 1)], []]
    assert [row[4] for row in in_pictures(data.test)[0]] == [0, 1]
    if train.startswith("train/"):
        return
    write_coco(root, val.replace("val", "test"), val_pictures.replace("val", "test"), coco())
    data = load("coco_json", root)
    assert data.val is not None
    assert [row[4] for row in in_pictures(data.val)[0]] == [0, 1]
    assert [row[4] for row in in_pictures(data.test)[0]] == [1, 0]


def test_coco_files_and_pictures_where_one_says(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    for year in (2014, 2017):
        write_coco(root, f"annotations/instances_train{year}.json", f"pictures/train{year}", coco())
    with pytest.raises(UserError, match=r"instances_train2014\.json, .*2017\.json could each be train; .* data\.train"):
        load("coco_json", root)
    train, val = (f"annotations/instances_train{year}.json" for year in (2017, 2014))
    with pytest.raises(
        UserError, match=r"line 8, images id 7: no image 'a\.jpg' in .*; set data\.images to its folder"
    ):
        load("coco_json", root, train=train, test=val)
    assert len(load("coco_json", root, train=train, test=val, images="pictures").test) == 2
    with pytest.raises(UserError, match=r"data\.val: no file 'x\.json' in"):
        load("coco_json", root, train=train, val="x.json")
    with pytest.raises(
        UserError, match=r"data\.root: none of annotations/instances_train\*\.json, .* set data\.train to the file"
    ):
        load("coco_json", root / "pictures")
    with pytest.raises(UserError, match=r"data=coco_json needs data\.root"):
        DATASETS.build("coco_json", wiring={"cache": "auto"})
    with pytest.raises(UserError, match=r"data\.root: folder not found"):
        load("coco_json", root / "no")


@same_pictures
def test_a_set_without_val_and_test_gives_a_fifth_of_train(tmp_path: Path) -> None:
    images = [{"id": f"{index}", "file_name": "a.jpg"} for index in range(10)]
    annotations = [{"image_id": f"{index}", "category_id": 5, "bbox": [0, 0, index + 1, 9]} for index in range(10)]
    write_coco(tmp_path / "coco", "train.json", "", coco(images=images, annotations=annotations))
    data = load("coco_json", tmp_path / "coco")
    assert (len(data.train), len(data.test)) == (8, 2)
    widths = [rows[0][2] for part in (data.train, data.test) for rows in in_pictures(part)]
    assert sorted(widths) == list(range(1, 11))


def annotation(**change: object) -> list[dict]:
    """One annotation that is changed, None for a key to leave out."""
    good = {"id": 1, "image_id": 7, "category_id": 90, "bbox": [0, 0, 5, 5]} | change
    return [{key: value for key, value in good.items() if value is not None}]


# Of a picture, which may be left out. The annotation is that of line 23, after the images.
BAD_COCO: dict[str, tuple[dict, str]] = {
    "outside": ({"bbox": [0, 0, 5, 22]}, "the box lies outside its image of 30x20 pixels"),
    "before": ({"bbox": [-3, 0, 5, 5]}, "the box lies outside its image"),
    "no area": ({"bbox": [3, 4, 0, 5]}, "the box has no area"),
    "image": ({"image_id": 9}, r"no image has the id 9 \(image_id\)"),
    "class": ({"category_id": 8}, "unknown category_id 8"),
    "nan": ({"bbox": [float("nan"), 0, 5, 5]}, r"bbox must be four numbers x, y, width, height, not \[nan, 0, 5, 5\]"),
    "inf": ({"bbox": [0, 0, float("inf"), 5]}, r"bbox must be four numbers .*, not \[0, 0, inf, 5\]"),
    "long": ({"bbox": [0, 0, 10**400, 5]}, "bbox must be four numbers"),
    "letters": ({"bbox": [0, 0, "5", 5]}, r"bbox must be four numbers .*, not \[0, 0, '5', 5\]"),
    "three": ({"bbox": [0, 0, 5]}, "bbox must be four numbers"),
    "no box": ({"bbox": None}, "bbox is missing"),
    "no list": ({"bbox": 3}, "bbox must be a list, not 3"),
    "no class": ({"category_id": None}, "category_id is missing"),
    "crowd": ({"iscrowd": "yes"}, "iscrowd must be an integer, not 'yes'"),
}


@same_pictures
@pytest.mark.parametrize("what", BAD_COCO)
def test_what_is_bad_in_coco_is_named_with_its_line_or_left_out(tmp_path: Path, what: str) -> None:
    change, message = BAD_COCO[what]
    second = {"id": 2, "image_id": 3, "category_id": 5, "bbox": [0, 0, 9, 9]}
    root = tmp_path / "coco"
    path = write_coco(root, "train.json", "", coco(annotations=[*annotation(**change), second]))
    write_coco(root, "val.json", "", coco())
    line = path.read_text().splitlines().index(' "annotations": [') + 2
    with pytest.raises(UserError, match=rf"train\.json, line {line}, annotations id 1: {message}.*data\.on_bad=skip"):
        load("coco_json", root)
    with pytest.warns(UserWarning, match="^1 bad image\\(s\\) left out, the first: .*" + message):
        data = load("coco_json", root, on_bad="skip")
    left = [[]] if what == "image" else []  # the image that has no such annotation is a good one
    assert (in_pictures(data.train), data.skipped) == ([*left, [(0, 0, 9, 9, 0, 0)]], 1)


@same_pictures
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 31}, "line 8, images id 7: the annotated size is 31x20 pixels, but .*a.jpg has 30x20"),
        ({"width": "thirty"}, "line 8, images id 7: width must be an integer, not 'thirty'"),
        ({"file_name": "c.jpg"}, "line 8, images id 7: image not found: '.*c.jpg'"),
    ],
)
def test_pictures_of_coco_that_are_missing_or_of_another_size(tmp_path: Path, change: dict, message: str) -> None:
    content = coco()
    content["images"][0] |= change
    content["annotations"] += annotation(id=4, image_id=3)
    write_coco(tmp_path / "coco", "train.json", "", content)
    write_coco(tmp_path / "coco", "val.json", "", coco())
    with pytest.raises(UserError, match=message):
        load("coco_json", tmp_path / "coco")
    with pytest.warns(UserWarning, match=message):
        data = load("coco_json", tmp_path / "coco", on_bad="skip")
    assert sizes_of(data.train).tolist() == [[20, 40]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [\n{"id": 1,}]}', r"train\.json, line 2: not well-formed JSON"),
        ("", r"train\.json, line 1: not well-formed JSON"),
        (b"\xff\xfe{}", r"train\.json: not UTF-8 text"),
        ("[" * 100_000, r"train\.json: cannot be read as JSON"),
        ("[1]", r"train\.json: must be a JSON object of lists"),
        (coco(images=[]), r"train\.json: no images"),
        ({"images": []}, r"train\.json: no list 'categories'"),
        (coco() | {"annotations": None}, r"train\.json: no list 'annotations'"),
        (coco(images=[3]), r"line 8, images number 1: must be an object"),
        (coco(images=[{"id": 7}, {"id": 7}]), r"line 11, images id 7: duplicate image id 7"),
        (coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), r"categories id 1: duplicate category"),
        (coco(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]), r"categories id 2: duplicate category"),
        (coco(categories=[{"id": True, "name": "a"}]), r"categories id True: id must be an integer, not True"),
        (coco(annotations=[]), r"train has 2 good image\(s\) in .*, but no objects"),
    ],
)
def test_coco_files_that_make_no_sense(tmp_path: Path, content: str | bytes | dict, message: str) -> None:
    root = tmp_path / "coco"
    path = write_coco(root, "train.json", "", coco())
    if isinstance(content, dict):
        path.write_text(json.dumps(content, indent=1))
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for on_bad in ("error", "skip"):
        with pytest.raises(UserError, match=message):
            load("coco_json", root, on_bad=on_bad)


# YOLO


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Two pictures to train on, one without a text file, and one for validation."""
    root = tmp_path / "yolo"
    photo(root / "images" / "train" / "a.jpg")
    photo(root / "images" / "train" / "deep" / "b.png", 20, 40)
    photo(root / "images" / "val" / "c.jpg")
    for name, lines in (("train/a", "1 0.5 0.5 1 1\n\n0 0.25 0.5 0.1 0.5\n"), ("val/c", "0 0.5 0.5 0.5 0.5\n")):
        path = root / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True)
        path.write_text(lines)
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


def test_yolo_in_its_own_format(yolo: Path) -> None:
    data = load("yolo_txt", yolo)
    assert (data.classes, data.val) == (("cat", "dog"), None)
    assert in_pictures(data.train) == [[(0, 0, 30, 20, 1, 0), (6, 5, 9, 15, 0, 0)], []]
    assert in_pictures(data.test) == [[(7.5, 5, 22.5, 15, 0, 0)]]
    photo(yolo / "images" / "test" / "d.jpg")
    (yolo / "labels" / "test").mkdir()
    (yolo / "labels" / "test" / "d.txt").write_text("1 0.5 0.5 1 1")
    data = load("yolo_txt", yolo)
    assert data.val is not None
    assert (in_pictures(data.val)[0][0][4], in_pictures(data.test)[0][0][4]) == (0, 1)


def test_yolo_folders_in_the_other_order_and_without_parts(yolo: Path) -> None:
    other = yolo.parent / "other"
    for kind in ("images", "labels"):
        (other / "train").mkdir(parents=True, exist_ok=True)
        (other / "valid").mkdir(exist_ok=True)
        (yolo / kind / "train").rename(other / "train" / kind)
        (yolo / kind / "val").rename(other / "valid" / kind)
    data = load("yolo_txt", other)
    assert ([len(rows) for rows in in_pictures(data.train)], len(data.test)) == ([2, 0], 1)
    flat = yolo.parent / "flat"
    for index in range(5):
        photo(flat / "images" / f"{index}.jpg")
    (flat / "labels").mkdir()
    for index in range(5):
        (flat / "labels" / f"{index}.txt").write_text(f"{index} 0.5 0.5 1 1")
    (flat / "labels" / "classes.txt").write_text("of a labelling tool\n")
    data = load("yolo_txt", flat)
    assert (len(data.train), len(data.test), data.classes) == (4, 1, ("0", "1", "2", "3", "4"))


@pytest.mark.parametrize(
    "content", ["names: [cat, dog]\n", "names:\n  0: cat\n  1: dog\n", "nc: 2\nnames: {1: dog, 0: cat}\n"]
)
def test_yolo_names_in_yaml(yolo: Path, content: str) -> None:
    (yolo / "classes.txt").unlink()
    (yolo / "data.yaml").write_text(content)
    assert load("yolo_txt", yolo).classes == ("cat", "dog")


@pytest.mark.parametrize(("part", "says"), [("train", "train on"), ("test", "measure")])
def test_a_split_in_which_nothing_counts_is_refused_before_the_training(tmp_path: Path, part: str, says: str) -> None:
    crowd = coco()
    crowd["annotations"] = [{**each, "iscrowd": 1} for each in crowd["annotations"]]
    for name in ("train", "test"):
        write_coco(tmp_path / "coco", f"{name}/_annotations.coco.json", name, crowd if name == part else coco())
    words = ["data=coco_json", f"data.root={tmp_path / 'coco'}", "data.val_fraction=0"]
    with pytest.raises(UserError, match=f"none of the 2 images of {part} has an object .* nothing to {says}"):
        train(*words, "data.batch_size=1")
    if part == "train":
        with pytest.raises(UserError, match="needs boxes, and the training split has none"):
            anchors(words)


def test_anchors_are_those_of_the_objects_that_are_trained_on(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_coco(tmp_path / "coco", f"{part}/_annotations.coco.json", part, coco())
    words = ["data=coco_json", f"data.root={tmp_path / 'coco'}", "data.val_fraction=0", "data.image_size=30"]
    fitted = anchors([*words, "count=2"])
    assert (fitted["objects"], fitted["anchors"]) == (1, [[10.0, 12.2]] * 2)  # not the crowd of 30x20


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\n"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("data.yaml", "names: [cat\n", r"data\.yaml: not valid YAML \(line 2"),
        ("data.yaml", "names: {0: cat, 2: dog}\n", r"data\.yaml: names must be a list, or a mapping from 0"),
        ("data.yaml", BOMB, r"data\.yaml: names must be a list"),
        ("data.yaml", "names: !!python/object/apply:os.getcwd []\n", r"data\.yaml: not valid YAML \(line 1"),
        ("data.yaml", "names: [2001-99-99]\n", r"data\.yaml: not valid YAML"),
        ("data.yaml", "[" * 1200, r"data\.yaml: not valid YAML"),
        ("data.yaml", "words\n", r"data\.yaml: names must be a list"),
        ("data.yaml", "names: [cat, cat]\n", r"data\.yaml: names of classes must be unique and not empty"),
        ("classes.txt", "cat\n\ndog\n", r"classes\.txt: names of classes must be unique and not empty"),
        ("classes.txt", "", r"classes\.txt: names of classes must be unique"),
    ],
)
def test_yolo_names_that_make_no_sense(yolo: Path, file: str, content: str, message: str) -> None:
    (yolo / "classes.txt").unlink()
    (yolo / file).write_text(content)
    with pytest.raises(UserError, match=message):
        load("yolo_txt", yolo)


# Of the third line, after a good one and an empty one.
BAD_YOLO = {
    "outside": ("0 0.9 0.5 0.5 0.5", "the box lies outside its image of 30x20 pixels"),
    "no area": ("0 0.5 0.5 0 0.5", "the box has no area"),
    "negative": ("0 0.5 0.5 -0.5 0.5", "the box has no area"),
    "class": ("2 0.5 0.5 0.5 0.5", "unknown class '2'; there are 2 classes, counted from 0"),
    "below": ("-1 0.5 0.5 0.5 0.5", "unknown class '-1'"),
    "nan": ("0 nan 0.5 0.5 0.5", "the box has coordinates that are not finite"),
    "inf": ("0 0.5 0.5 1e999 0.5", "the box has coordinates that are not finite"),
    "letters": ("0 0.5 0.5 half 0.5", "'0 0.5 0.5 half 0.5' contains a value that is not a number"),
    "four": ("0 0.5 0.5 0.5", "expected `class cx cy w h`, or `class x y x y x y ...`, not 4 word"),
    "confidence": ("0 0.5 0.5 0.5 0.5 0.9", "expected `class cx cy w h`, or .*, not 6 word"),
    "odd polygon": ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.5", "expected .*, not 8 word"),
    "polygon without area": ("0 0.1 0.1 0.5 0.1 0.9 0.1", "the box has no area"),
    "polygon of nan": ("0 0.1 0.1 nan 0.1 0.9 0.9", "the box has coordinates that are not finite"),
    "half a class": ("0.5 0.5 0.5 0.5 0.5", "unknown class '0.5'"),
}


@pytest.mark.parametrize("what", BAD_YOLO)
def test_what_is_bad_in_yolo_is_named_with_its_line_or_left_out(yolo: Path, what: str) -> None:
    line, message = BAD_YOLO[what]
    (yolo / "labels" / "train" / "a.txt").write_text(f"1 0.5 0.5 1 1\n\n{line}\n")
    (yolo / "labels" / "train" / "deep").mkdir()
    (yolo / "labels" / "train" / "deep" / "b.txt").write_text("0 0.5 0.5 1 1\n")
    with pytest.raises(UserError, match=rf"labels/train/a\.txt, line 3: {message}.*data\.on_bad=skip"):
        load("yolo_txt", yolo)
    with pytest.warns(UserWarning, match="^1 bad image\\(s\\) left out, the first: .*" + message):
        data = load("yolo_txt", yolo, on_bad="skip")
    assert (in_pictures(data.train), data.skipped) == ([[(0, 0, 20, 40, 0, 0)]], 1)


def test_a_text_of_no_picture_is_a_missing_picture(yolo: Path) -> None:
    (yolo / "images" / "train" / "a.jpg").rename(yolo / "images" / "train" / "z.jpg")
    (yolo / "labels" / "train" / "z.txt").write_text("0 0.5 0.5 1 1\n")
    with pytest.raises(UserError, match=r"train/a\.txt: no image of this name in .*images/train"):
        load("yolo_txt", yolo)
    with pytest.warns(UserWarning, match=r"train/a\.txt: no image"):
        assert load("yolo_txt", yolo, on_bad="skip").skipped == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: photo(root / "images/train/a.png"),
            r"a\.png and a\.jpg have the same name, so both would use .*a\.txt",
        ),
        (lambda root: (root / "images/train").rename(root / "images/trian"), r"has val, but not images/train"),
        (lambda root: (root / "images").rename(root / "pictures"), r"neither images/train nor images in"),
        (lambda root: (root / "images/test").mkdir(), r"data\.root: no images in .*images/test"),
        (
            lambda root: (root / "labels").rename(root / "texts"),
            r"images in .*images/train', but neither a folder .*labels/train' nor texts beside them",
        ),
        (
            lambda root: (root / "labels/train/a.txt").write_text(""),
            r"train has 2 good image\(s\) in .*, but no objects",
        ),
        (lambda root: (root / "labels/train/a.txt").write_bytes(b"\xff"), r"a\.txt: not UTF-8 text"),
        (lambda root: (root / "images/train/a.jpg").write_text("x"), r"a\.jpg: not a complete image"),
    ],
)
def test_yolo_folders_that_make_no_sense(yolo: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(yolo)
    with pytest.raises(UserError, match=message):
        load("yolo_txt", yolo)


def test_a_class_that_cannot_be_one_is_no_reason_for_a_million_names(yolo: Path) -> None:
    (yolo / "classes.txt").unlink()
    (yolo / "labels" / "train" / "a.txt").write_text("123456789 0.5 0.5 1 1\n")
    with pytest.raises(
        UserError, match=r"a\.txt: class 123456789 is too large without names; list them in classes\.txt"
    ):
        load("yolo_txt", yolo)
