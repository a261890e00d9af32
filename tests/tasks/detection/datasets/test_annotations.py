"""Pictures with objects: letterboxing, and VOC in its own format, good and bad."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.datasets import voc as torchvision_voc
from torchvision.transforms.v2 import functional as v2

from dlzoo.boxes.objects import objects
from dlzoo.core.errors import UserError
from dlzoo.data.settings import DataSettings
from dlzoo.data.splits import Splits
from dlzoo.data.storage import decode
from dlzoo.data.storage.lazy_images import LazyImages
from dlzoo.data.transforms.letterbox import Fit, fit_to_square, from_canvas, load_image, occupied_box, to_canvas
from dlzoo.tasks.detection.datasets.voc import CLASSES
from tests.box_files import in_pictures, load, photo, sizes_of

FITS = ["letterbox", "stretch"]
#: Wider, higher, square, a single pixel, and one that is far longer than wide.
SIZES = torch.tensor([(500, 375), (333, 500), (64, 64), (1, 1), (3, 997), (416, 415)])

pytestmark = pytest.mark.usefixtures("cache_home")


def boxes_in(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """(N, count, 4) boxes inside pictures of `sizes`."""
    corners = torch.rand(len(sizes), count, 2, 2, generator=torch.Generator().manual_seed(0)).sort(2).values
    return (corners * sizes[:, None, None]).flatten(2)


# Letterbox


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("side", [32, 417])
def test_boxes_come_back_from_the_canvas(side: int, fit: Fit) -> None:
    boxes = boxes_in(SIZES, 9)
    there = to_canvas(boxes, SIZES, side, fit)
    area = occupied_box(SIZES, side, fit)[:, None]
    assert (there[..., :2] >= area[..., :2] - 1e-3).all()
    assert (there[..., 2:] <= area[..., 2:] + 1e-3).all()
    torch.testing.assert_close(from_canvas(there, SIZES, side, fit), boxes, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(to_canvas(boxes[:, 0], SIZES, side, fit), there[:, 0])


@pytest.mark.parametrize("fit", FITS)
def test_boxes_beside_the_picture_are_cut_off_at_its_edges(fit: Fit) -> None:
    beyond = torch.tensor([-50.0, -50, 90, 90]).expand(len(SIZES), 1, 4)
    cut_off = from_canvas(beyond, SIZES, 32, fit)[:, 0]
    assert torch.equal(cut_off, torch.cat([torch.zeros_like(SIZES), SIZES], 1).float())


@pytest.mark.parametrize("side", [32, 417])
def test_a_letterbox_has_the_proportions_of_its_picture_and_lies_in_the_middle(side: int) -> None:
    area = occupied_box(SIZES, side, "letterbox").double()
    extent = area[:, 2:] - area[:, :2]
    exact = SIZES * (side / SIZES.amax(1, keepdim=True)).double()
    assert ((extent - exact.clamp(min=1)).abs() <= 0.5).all()
    assert (extent.amax(1) == side).all()
    assert ((area[:, :2] + area[:, 2:] - side).abs() <= 1).all()


@pytest.mark.parametrize(("width", "height"), [(50, 37), (23, 64), (40, 40)])
@pytest.mark.parametrize("fit", FITS)
def test_pictures_and_boxes_go_where_torchvision_brings_them(width: int, height: int, fit: Fit) -> None:
    side, scale = 48, 48 / max(width, height)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    boxes = boxes_in(torch.tensor([(width, height)]), 5)
    bounding_boxes: Any = tv_tensors.BoundingBoxes
    reference = bounding_boxes(boxes[0], format="XYXY", canvas_size=(height, width))
    new = [side, side] if fit == "stretch" else [round(height * scale), round(width * scale)]
    free = side - new[1], side - new[0]
    padding = [free[0] // 2, free[1] // 2, free[0] - free[0] // 2, free[1] - free[1] // 2]
    resize: Any = v2.resize
    expected = v2.pad(resize(picture, new), padding, fill=[128, 128, 128])
    moved = v2.pad(resize(reference, new), padding)
    assert np.array_equal(fit_to_square(picture, side, fit), np.asarray(expected))
    torch.testing.assert_close(
        to_canvas(boxes, torch.tensor([(width, height)]), side, fit)[0], moved.as_subclass(torch.Tensor)
    )


# VOC


def thing(name: str = "cat", box: tuple = (1, 1, 10, 10), difficult: int | str | None = 0) -> str:
    mark = "" if difficult is None else f"<difficult>{difficult}</difficult>\n"
    tags = "".join(f"<{tag}>{v}</{tag}>\n" for tag, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object>\n<name>{name}</name>\n{mark}<bndbox>\n{tags}</bndbox>\n</object>\n"


def voc_picture(base: Path, name: str, things: str, width: int = 30, height: int = 20) -> Path:
    photo(base / "JPEGImages" / f"{name}.jpg", width, height)
    path = base / "Annotations" / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = f"<size>\n<width>{width}</width>\n<height>{height}</height>\n<depth>3</depth>\n</size>\n"
    path.write_text(f"<annotation>\n{size}{things}</annotation>\n")
    return path


def voc_list(base: Path, part: str, *names: str) -> None:
    (base / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (base / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """VOC2007 of three pictures to train on and one to test."""
    base = tmp_path / "voc" / "VOCdevkit" / "VOC2007"
    voc_picture(base, "000001", thing("cat", (1, 1, 30, 20)) + thing("dog", (5, 6, 14, 15), 1))
    voc_picture(base, "000002", thing("tvmonitor", (2.5, 3, 10.25, 12), None), 20, 40)
    voc_picture(base, "000003", "")
    voc_picture(base, "000004", thing("aeroplane", (3, 3, 3, 3)))
    voc_list(base, "trainval", "000001", "000002", "000003")
    voc_list(base, "test", "000004")
    return base


def test_voc_in_its_own_format(voc: Path) -> None:
    data = load("voc2007", voc.parents[1])
    assert data.classes == CLASSES == tuple(sorted(CLASSES))
    assert sizes_of(data.train).tolist() == [[30, 20], [20, 40], [30, 20]]
    # The first pixel is 1 and the last belongs to the box: the box of the first object is the whole picture.
    assert in_pictures(data.train) == [
        [(0, 0, 30, 20, 7, 0), (4, 5, 14, 15, 11, 1)],
        [(1.5, 2, 10.25, 12, 19, 0)],
        [],
    ]
    assert in_pictures(data.test) == [[(2, 2, 3, 3, 0, 0)]]
    assert (data.train.images.shape, data.fit, data.skipped, data.val) == ((3, 32, 32, 3), "letterbox", 0, None)
    picture = load_image(voc / "JPEGImages" / "000002.jpg")
    assert np.array_equal(data.train.images[:][1].numpy(), fit_to_square(picture, 32, "letterbox"))
    assert (data.train.images[:][1][:, :8] == 128).all()  # 20x40 is 16x32, with 8 on each side


def test_labels_are_in_pixels_of_the_canvas_and_rows_of_no_object_are_zero(voc: Path) -> None:
    labels = load("voc2007", voc.parents[1]).train.labels
    assert labels.shape == (3, 2, 6)
    assert labels[0, 0].tolist() == [0, 5, 32, 26, 7, 0]  # 30x20 is 32x21, from row 5 on
    assert labels[2].tolist() == [[0, 0, 0, 0, -1, 0]] * 2
    stretched = load("voc2007", voc.parents[1], fit="stretch")
    assert stretched.train.labels[0, 0].tolist() == [0, 0, 32, 32, 7, 0]
    assert in_pictures(stretched.train, "stretch")[1] == [(1.5, 2, 10.25, 12, 19, 0)]


@pytest.mark.parametrize("up", [0, 1, 2])
def test_voc_is_found_in_its_devkit_beside_it_and_by_itself(voc: Path, up: int) -> None:
    root = [voc, *voc.parents][up]
    assert len(load("voc2007", root).train) == 3


def test_voc2012_and_both_together(voc: Path) -> None:
    base = voc.parent / "VOC2012"
    for name in ("2008_000001", "2008_000002"):
        voc_picture(base, name, thing("person") + "<object><part><bndbox/></part>" + thing()[len("<object>") :])
    voc_list(base, "train", "2008_000001")
    voc_list(base, "val", "2008_000002")
    voc_list(base, "trainval", "2008_000001", "2008_000002")
    root = voc.parents[1]
    assert [len(part) for part in (load("voc2012", root).train, load("voc2012", root).test)] == [1, 1]
    both = load("voc0712", root)
    assert [len(both.train), len(both.test)] == [5, 1]
    assert [len(rows) for rows in in_pictures(both.train)] == [2, 1, 0, 2, 2]
    with pytest.raises(UserError, match=r"data=voc0712: no VOCdevkit/VOC2007 and VOCdevkit/VOC2012 in "):
        load("voc0712", base)


def test_difficult_objects_are_trained_on_when_asked_for_and_never_evaluated(voc: Path) -> None:
    voc_picture(voc, "000004", thing() + thing(difficult=1))
    for asked in (False, True):
        section = {"name": "voc2007", "root": str(voc.parents[1]), "difficult": asked}
        splits = Splits.load(section | vars(DataSettings(batch_size=1, val_fraction=0.4)))
        assert splits.val is not None
        marks = [int(objects(part.labels).difficult.sum()) for part in (splits.train, splits.test)]
        assert marks == [0 if asked else 1, 1]
        assert len(splits.val) == 1
    data = load("voc2007", voc.parents[1], difficult=True)
    prepare = data.fit_preparation(data.train)
    cut = data.train.take(torch.tensor([0]))
    assert objects(prepare(cut).labels).difficult.sum() == 1  # what became validation keeps its marks


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))


def rename(path: Path, tag: str) -> None:
    """Call an element otherwise."""
    edit(path, f"<{tag}>", f"<{tag}s>")
    edit(path, f"</{tag}>", f"</{tag}s>")


def truncate(path: Path) -> None:
    """Take the end of the pixels away; the header still says what the picture is."""
    path.write_bytes(path.read_bytes()[:-40])
    with Image.open(path) as picture:
        assert picture.size in ((30, 20), (20, 40))


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".Bmp"])
def test_pictures_of_voc_have_any_suffix(voc: Path, suffix: str) -> None:
    before = in_pictures(load("voc2007", voc.parents[1]).train)
    for path in (voc / "JPEGImages").iterdir():
        Image.open(path).save(path.with_suffix(suffix))
        path.unlink()
        path.with_suffix(".txt").write_text("a note beside it")
    assert in_pictures(load("voc2007", voc.parents[1]).train) == before


@pytest.mark.parametrize("side", ["0", "-1", "0.0"])
def test_a_size_that_stands_for_an_unknown_one(voc: Path, side: str) -> None:
    for tag, old in (("width", 30), ("height", 20)):
        edit(voc / "Annotations" / "000001.xml", f"<{tag}>{old}<", f"<{tag}>{side}<")
    assert sizes_of(load("voc2007", voc.parents[1]).train)[0].tolist() == [30, 20]


def test_a_byte_order_mark_in_a_list_is_no_part_of_a_name(voc: Path) -> None:
    path = voc / "ImageSets" / "Main" / "trainval.txt"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(load("voc2007", voc.parents[1]).train) == 3
    path.write_text("000001  1\n")
    with pytest.raises(UserError, match=r"trainval\.txt, line 1: annotation not found: .* without a second column"):
        load("voc2007", voc.parents[1])


# Lines: 1 <annotation>, 2 <size>, 3 <width>, 4 <height>; 7 <object>, 8 <name>, 9 <difficult>, 10 <bndbox>, 11 <xmin>.
BAD_VOC: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "missing image": (lambda xml, jpg: jpg.unlink(), r"000001\.xml, line 2: image not found: .*000001\.jpg"),
    "no image": (lambda xml, jpg: jpg.write_text("words"), r"000001\.jpg: not a complete image"),
    "truncated": (lambda xml, jpg: truncate(jpg), r"000001\.jpg: not a complete image \(.*truncated"),
    "no annotation": (lambda xml, jpg: xml.unlink(), r"trainval\.txt, line 1: annotation not found: .*000001\.xml"),
    "outside": (lambda xml, _: edit(xml, "<xmax>30", "<xmax>32"), r"line 10: the box lies outside its image of 30x20"),
    "beside": (
        lambda xml, _: (edit(xml, "<xmin>1<", "<xmin>31<"), edit(xml, "<xmax>30<", "<xmax>31<")),
        r"line 10: the box lies outside its image",
    ),
    "no area": (lambda xml, _: edit(xml, "<xmin>1<", "<xmin>33<"), r"000001\.xml, line 10: the box has no area"),
    "class": (lambda xml, _: edit(xml, "cat", "cats"), r"000001\.xml, line 8: unknown class 'cats'; did you mean"),
    "nan": (lambda xml, _: edit(xml, "<xmin>1<", "<xmin>nan<"), r"line 11: <xmin> must be a finite number, not 'nan'"),
    "inf": (lambda xml, _: edit(xml, "<xmin>1<", "<xmin>-inf<"), r"line 11: <xmin> must .*not '-inf'"),
    "huge": (lambda xml, _: edit(xml, "<xmin>1<", "<xmin>1e999<"), r"line 11: <xmin> must .*not '1e999'"),
    "letters": (lambda xml, _: edit(xml, "<xmin>1<", "<xmin>one<"), r"line 11: <xmin> must .*not 'one'"),
    "malformed": (lambda xml, _: edit(xml, "</name>", "</nam>"), r"line 8: not well-formed XML \(mismatched tag"),
    "cut off": (lambda xml, _: xml.write_text("<annotation>\n"), r"line 2: not well-formed XML"),
    "empty": (lambda xml, _: xml.write_text(""), r"line 1: not well-formed XML \(no element found"),
    "encoding": (lambda xml, _: xml.write_text('<?xml version="1.0" encoding="x-no"?><a/>'), r"not well-formed XML"),
    "size": (lambda xml, _: edit(xml, "<width>30", "<width>31"), r"line 2: the annotated size is 31x20 pixels"),
    "no size": (lambda xml, _: rename(xml, "size"), r"line 1: <annotation> has no <size>"),
    "no box": (lambda xml, _: rename(xml, "bndbox"), r"line 7: <object> has no <bndbox>"),
    "no edge": (lambda xml, _: edit(xml, "<ymax>20</ymax>", ""), r"line 10: <bndbox> has no <ymax>"),
    "other": (lambda xml, _: xml.write_text("<html/>"), r"line 1: expected <annotation>, not <html>"),
    "doctype": (lambda xml, _: edit(xml, "<ann", "<!DOCTYPE annotation>\n<ann"), r"line 1: document types"),
    "bomb": (
        lambda xml, _: edit(
            xml, "<ann", '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;"><!ENTITY f SYSTEM "/etc/passwd">]>\n<ann'
        ),
        r"line 1: document types \(DOCTYPE\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_VOC)
def test_what_is_bad_in_voc_is_named_with_its_line_or_left_out(voc: Path, what: str) -> None:
    spoil, message = BAD_VOC[what]
    spoil(voc / "Annotations" / "000001.xml", voc / "JPEGImages" / "000001.jpg")
    root = voc.parents[1]
    with pytest.raises(UserError, match=message) as caught:
        load("voc2007", root)
    assert "data.on_bad=skip" in str(caught.value)
    with pytest.warns(UserWarning, match="^1 bad image\\(s\\) left out, the first: .*" + message):
        data = load("voc2007", root, on_bad="skip")
    assert (len(data.train), len(data.test), data.skipped) == (2, 1, 1)
    assert len(in_pictures(data.train)[0]) == 1  # the second picture is the first now
    assert data.train.images[:].shape == (2, 32, 32, 3)


def test_boxes_may_stick_out_by_a_pixel_and_are_cut_off(voc: Path) -> None:
    voc_picture(voc, "000001", thing(box=(0, 0, 31, 21)))
    assert in_pictures(load("voc2007", voc.parents[1]).train)[0] == [(0, 0, 30, 20, 7, 0)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", r"test\.txt: the list is empty"),
        ("000004\n\n000004\n", r"test\.txt, line 3: '000004' is already in line 1"),
        (None, r"test\.txt: cannot be read .*data\.download=true"),
        ("\udcff", r"test\.txt: not UTF-8 text"),
        ("000003\n", r"test has 1 good image\(s\) in .*, but no objects"),
    ],
)
def test_lists_that_say_nothing_or_twice_the_same(voc: Path, lines: str | None, message: str) -> None:
    path = voc / "ImageSets" / "Main" / "test.txt"
    path.unlink() if lines is None else path.write_bytes(lines.encode(errors="surrogateescape"))
    for on_bad in ("error", "skip"):
        with pytest.raises(UserError, match=message):
            load("voc2007", voc.parents[1], on_bad=on_bad)


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_a_truncated_picture_is_found_and_with_a_cache_looked_for_once(
    voc: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate(voc / "JPEGImages" / "000002.jpg")
    if cache == "none":  # nothing is decoded before it is asked for
        with pytest.raises(UserError, match=r"000002\.jpg: not a complete image .*data\.on_bad=skip"):
            load("voc2007", voc.parents[1], cache=cache).train.images[:]
    looked = []
    find = decode.check_images
    monkeypatch.setattr(decode, "check_images", lambda paths: looked.append(len(paths)) or find(paths))
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"000002\.jpg: not a complete image"):
            data = load("voc2007", voc.parents[1], on_bad="skip", cache=cache)
        assert isinstance(data.train.images, LazyImages)
        assert (len(data.train.images[:]), data.skipped, data.train.images.place) == (2, 1, cache)
    assert looked == [4]
    photo(voc / "JPEGImages" / "000002.jpg", 20, 40)
    assert load("voc2007", voc.parents[1], on_bad="skip", cache=cache).skipped == 0


def test_decoded_files_of_two_fits_and_sets_stay_beside_each_other(voc: Path, cache_home: Path) -> None:
    base = voc.parent / "VOC2012"
    voc_picture(base, "2008_000001", thing())
    for part in ("train", "val", "trainval"):
        voc_list(base, part, "2008_000001")
    for name, fit in (("voc2007", "letterbox"), ("voc2007", "stretch"), ("voc0712", "stretch")):
        load(name, voc.parents[1], fit=fit)
    files = sorted(cache_home.rglob("*.npy"))
    assert len(files) == 3
    before = [path.stat().st_mtime_ns for path in files]
    load("voc2007", voc.parents[1])
    assert [path.stat().st_mtime_ns for path in sorted(cache_home.rglob("*.npy"))] == before


@pytest.mark.parametrize("said", [(20, 30), (30, 20)])
def test_a_picture_is_turned_upright_unless_its_size_says_otherwise(voc: Path, said: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter: 30x20 becomes 20x30
    voc_picture(voc, "000001", thing(box=(1, 1, 20, 20)), *said)
    path = voc / "JPEGImages" / "000001.jpg"
    photo(path, 30, 20, exif=exif)
    data = load("voc2007", voc.parents[1])
    assert sizes_of(data.train)[0].tolist() == list(said)
    expected = fit_to_square(load_image(path, as_stored=said == (30, 20)), 32, "letterbox")
    assert np.array_equal(data.train.images[:][0].numpy(), expected)
    assert load_image(path).size == (20, 30)


def archive(voc: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VOC2007 as the archive that torchvision has put into `root`; it would ask a dead server for any other."""
    root.mkdir(parents=True)
    with tarfile.open(root / "VOC.tar", "w") as tar:
        tar.add(voc.parent, "VOCdevkit")
    digest = hashlib.md5((root / "VOC.tar").read_bytes()).hexdigest()
    source = {"url": "http://127.0.0.1:9/VOC.tar", "filename": "VOC.tar", "md5": digest}
    for key in ("2007", "2007-test"):
        monkeypatch.setitem(torchvision_voc.DATASET_YEAR_DICT, key, source | {"base_dir": "VOCdevkit/VOC2007"})
    monkeypatch.setenv("no_proxy", "*")


def test_voc_is_downloaded_once_and_again_when_a_picture_is_missing(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "new" / "data"
    archive(voc, root, monkeypatch)
    with pytest.raises(UserError, match=r"data=voc2007: no VOCdevkit/VOC2007 in .*data\.download=true"):
        load("voc2007", root)
    data = load("voc2007", root, download=True)
    assert in_pictures(data.train) == in_pictures(load("voc2007", voc.parents[1]).train)
    picture = root / "VOCdevkit" / "VOC2007" / "JPEGImages" / "000001.jpg"
    picture.unlink()
    load("voc2007", root, download=True)
    (root / "VOC.tar").unlink()
    load("voc2007", root, download=True)  # all is there
    picture.unlink()
    with pytest.raises(UserError, match=r"data=voc2007: the download failed \(.*refused.*check the network"):
        load("voc2007", root, download=True)


def test_an_archive_that_is_none_is_one_line(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(voc, tmp_path / "data", monkeypatch)
    (tmp_path / "data" / "VOC.tar").write_text("words")
    wrong = torchvision_voc.DATASET_YEAR_DICT["2007"] | {"md5": hashlib.md5(b"words").hexdigest()}
    monkeypatch.setitem(torchvision_voc.DATASET_YEAR_DICT, "2007", wrong)
    with pytest.raises(UserError, match=r"data=voc2007: the copy in .* is incomplete; delete it and try again"):
        load("voc2007", tmp_path / "data", download=True)
