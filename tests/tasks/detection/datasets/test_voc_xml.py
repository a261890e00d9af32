"""XML files of one's own classes, as LabelImg and others write and lay them out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dlzoo.core.errors import Note, UserError
from tests.box_files import in_pictures, load, photo
from tests.tasks.detection.datasets.test_annotations import thing

pytestmark = pytest.mark.usefixtures("cache_home")


def picture(image: Path, xml: Path, things: str = thing("cat"), size: tuple[int, int] = (30, 20)) -> None:
    photo(image)
    xml.parent.mkdir(parents=True, exist_ok=True)
    name = f"<folder>f</folder>\n<filename>{image.name}</filename>\n<path>C:\\u\\{image.name}</path>\n"
    sides = f"<size>\n<width>{size[0]}</width>\n<height>{size[1]}</height>\n<depth>3</depth>\n</size>\n"
    xml.write_text(f"<annotation>\n{name}{sides}<segmented>0</segmented>\n{things}</annotation>\n")


#: Folders of the images and of the XML files of a part.
LAYOUTS = [
    ("{}", "{}"),
    ("{}/images", "{}/annotations"),
    ("images/{}", "annotations/{}"),
    ("JPEGImages/{}", "Annotations/{}"),
    ("{}/images", "{}"),
    ("set/{}", "set/{}"),
    ("{}/images/monday", "{}/xmls/monday"),
]


@pytest.mark.parametrize(("images", "xmls"), LAYOUTS)
@pytest.mark.parametrize(("train", "val", "test"), [("train", "val", "test"), ("Train", "valid", "test2007")])
def test_parts_are_folders(images: str, xmls: str, train: str, val: str, test: str, tmp_path: Path) -> None:
    for part, count in ((train, 3), (val, 2), (test, 1)):
        for index in range(count):
            places = [tmp_path / place.format(part) for place in (images, xmls)]
            picture(places[0] / f"{index}.{'png' if index else 'JPG'}", places[1] / f"{index}.xml")
    data = load("voc_xml", tmp_path)
    assert data.val is not None
    assert (len(data.train), len(data.val), len(data.test), data.classes) == (3, 2, 1, ("cat",))
    assert in_pictures(data.test) == [[(0, 0, 10, 10, 0, 0)]]  # the first pixel is 1


@pytest.mark.parametrize(("images", "xmls"), [("", ""), ("JPEGImages", "Annotations"), ("images", "labels")])
def test_without_parts_a_fifth_of_all_is_the_test_split(images: str, xmls: str, tmp_path: Path) -> None:
    for index in range(10):
        picture(tmp_path / images / f"{index}.png", tmp_path / xmls / f"{index}.xml")
    data = load("voc_xml", tmp_path)
    assert (len(data.train), len(data.test), data.val) == (8, 2, None)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"train": "01", "val": "23", "test": "4"}, (2, 2, 1)),
        ({"train": "01", "val": "2", "trainval": "012", "test": "34"}, (2, 1, 2)),
        ({"trainval": "012", "test": "34"}, (3, 0, 2)),
        ({"train": "012", "val": "34", "cat_train": "0 -1", "cat_val": "3 1"}, (3, 0, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("top", ["", "VOCdevkit/VOC2007"])
def test_parts_are_lists(lists: dict[str, str], expected: tuple, top: str, tmp_path: Path) -> None:
    base = tmp_path / top
    for index in range(6):
        picture(base / "JPEGImages" / f"{index}.png", base / "Annotations" / f"{index}.xml")
    (base / "ImageSets" / "Main").mkdir(parents=True)
    for name, members in lists.items():
        lines = [members] if "_" in name else list(members)
        (base / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    data = load("voc_xml", tmp_path)
    assert (len(data.train), 0 if data.val is None else len(data.val), len(data.test)) == expected


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two pictures to train on, and one to test."""
    root = tmp_path / "mine"
    picture(root / "train" / "a.png", root / "train" / "a.xml", thing("zebra") + thing("ape", difficult=1))
    picture(root / "train" / "b.png", root / "train" / "b.xml", "", (0, 0))
    picture(root / "test" / "a.png", root / "test" / "a.xml", thing("ape", (0, 5, 30, 20)))
    return root


def test_classes_are_those_of_train_or_of_a_list(mine: Path) -> None:
    data = load("voc_xml", mine)
    assert data.classes == ("ape", "zebra")
    assert in_pictures(data.train) == [[(0, 0, 10, 10, 1, 0), (0, 0, 10, 10, 0, 1)], []]
    assert in_pictures(data.test) == [[(0, 4, 30, 20, 0, 0)]]
    (mine / "classes.txt").write_text("zebra\ngnu\nape\n", encoding="utf-8-sig")
    assert load("voc_xml", mine).classes == ("zebra", "gnu", "ape")
    (mine / "classes.txt").write_text("zebra\n")
    with pytest.raises(UserError, match=r"train/a\.xml, line \d+: unknown class 'ape'; available: zebra"):
        load("voc_xml", mine)


@pytest.mark.parametrize("what", ["class", "xml", "no image", "damaged"])
def test_what_is_bad_is_named_or_left_out(what: str, mine: Path) -> None:
    picture(mine / "train" / "c.png", mine / "train" / "c.xml")
    victim, says = mine / "train" / "c.xml", "c.xml, line 1: not well-formed XML"
    if what == "class":
        victim, says = mine / "test" / "c.xml", "c.xml, line 12: unknown class 'gnu'; available: ape, cat, zebra"
        picture(mine / "test" / "c.png", victim, thing("gnu"))
    elif what == "xml":
        victim.write_text("<annotation")
    elif what == "no image":
        (mine / "train" / "c.png").unlink()
        says = "c.xml, line 5: image not found: .*c.jpg"
    elif what == "damaged":
        (mine / "train" / "c.png").write_bytes(b"no picture")
        says = "c.png: not a complete image"
    with pytest.raises(UserError, match=says):
        load("voc_xml", mine)
    with pytest.warns(Note, match=f"^1 bad image.*{says}"):
        data = load("voc_xml", mine, on_bad="skip")
    assert (len(data.train), len(data.test)) == (3 if what == "class" else 2, 1)


def test_images_without_an_xml_file_are_left_out_and_counted(mine: Path) -> None:
    for name in ("x", "y"):
        photo(mine / "train" / f"{name}.png")
    (mine / "LICENSE").write_text("not an image")
    with pytest.warns(Note, match=r"^2 image\(s\) without an XML file are left out, such as .*train/x\.png"):
        assert len(load("voc_xml", mine).train) == 2


def test_folders_that_make_no_sense(mine: Path, tmp_path: Path) -> None:
    picture(mine / "more" / "d.png", mine / "more" / "d.xml")
    with pytest.raises(UserError, match=r"has train and test, but .*more/d\.xml is in none of them"):
        load("voc_xml", mine)
    shutil.rmtree(mine / "more")
    shutil.copy(mine / "train" / "a.png", mine / "train" / "a.jpg")
    with pytest.raises(UserError, match=r"a\.png and .*a\.jpg have the same name"):
        load("voc_xml", mine)
    shutil.rmtree(mine / "train")
    with pytest.raises(UserError, match="has test, but not train"):
        load("voc_xml", mine)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"data\.root: no XML files in"):
        load("voc_xml", tmp_path / "empty")
    with pytest.raises(UserError, match=r"data\.root: folder not found"):
        load("voc_xml", tmp_path / "nowhere")


def test_a_list_that_names_what_is_not_there(mine: Path) -> None:
    for part, name in (("train", "train/a"), ("test", "test/z")):
        path = mine / "ImageSets" / "Main" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    with pytest.raises(UserError, match=r"test\.txt, line 1: no XML file of the name 'test/z'"):
        load("voc_xml", mine)


@pytest.mark.parametrize("mark", ["", " ", "0", "0.0", "1", "1.0"])
def test_difficult_may_be_empty(mark: str, mine: Path) -> None:
    picture(mine / "test" / "a.png", mine / "test" / "a.xml", thing("ape", difficult=mark))
    ((row,),) = in_pictures(load("voc_xml", mine).test)
    assert row[5] == (mark.strip()[:1] == "1")


@pytest.mark.parametrize("mark", ["yes", "2", "-1", "0.5", "Unspecified", "nan", "\u0661"])
def test_a_difficult_that_is_neither_0_nor_1_is_one_line(mark: str, mine: Path) -> None:
    picture(mine / "train" / "b.png", mine / "train" / "b.xml", thing("ape", difficult=mark))
    says = rf"b\.xml, line 13: <difficult> must be 0, 1 or empty, not '{mark}'"
    with pytest.raises(UserError, match=says):
        load("voc_xml", mine)
    with pytest.warns(Note, match=says):
        assert len(load("voc_xml", mine, on_bad="skip").train) == 1


@pytest.mark.parametrize("name", ["b.png", r"C:\me\b.png", "/home/me/b.png", "  b.png\n"])
def test_an_image_is_that_of_the_xml_files_name_whatever_filename_says(name: str, mine: Path) -> None:
    usual, xml = load("voc_xml", mine), mine / "train" / "a.xml"
    xml.write_text(xml.read_text().replace("<filename>a.png<", f"<filename>{name}<"))
    with pytest.warns(
        Note, match=r"^1 annotation\(s\) name another image .*used, the first: .*a\.xml, line 3: b\.png$"
    ):
        data = load("voc_xml", mine)
    assert in_pictures(data.train) == in_pictures(usual.train)
    assert (data.train.images[:] == usual.train.images[:]).all()


@pytest.mark.filterwarnings("error:.*name another image")
@pytest.mark.parametrize("name", ["", "a.jpg", "gone.png", "..", "a" * 300 + ".png", "A\u0301.png"])
def test_a_filename_of_no_other_image_is_nothing_to_report(name: str, mine: Path) -> None:
    xml = mine / "train" / "a.xml"
    xml.write_text(xml.read_text().replace("<filename>a.png<", f"<filename>{name}<"))
    assert len(load("voc_xml", mine).train) == 2
