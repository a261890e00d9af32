"""Folders of pictures: what is read, what is refused, where the decoded images are kept."""

import errno
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from torch import Tensor

from dlzoo.builder.model import build
from dlzoo.core.errors import Note, UserError
from dlzoo.core.rng import Streams
from dlzoo.data.loader import EvalLoader, TrainLoader
from dlzoo.data.settings import DataSettings
from dlzoo.data.split import Split, channel_statistics, fingerprint
from dlzoo.data.splits import Splits
from dlzoo.data.storage import decode
from dlzoo.data.storage.image_file import read_image
from dlzoo.data.transforms.batch import ImageTransform, Normalise
from dlzoo.data.transforms.letterbox import load_image
from tests.conftest import draw_pictures
from tests.processes import Command


def section(**settings: object) -> dict:
    usual = {"name": "image_folder", "image_size": None, "root": None}
    return usual | vars(DataSettings()) | {"batch_size": 4} | settings


# Folders of pictures


def test_an_image_folder(pictures: Path) -> None:
    splits = Splits.load(section(root=str(pictures)))
    assert splits.classes == ("dark", "light")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [72, 8, 20]
    assert splits.train.images.shape[1:] == (12, 12, 3)
    first = np.asarray(Image.open(pictures / "test" / "dark" / "000.png"))
    assert np.array_equal(splits.test.images[0].numpy(), first)
    for part in (splits.train, splits.val, splits.test):
        brightness = part.images.float().mean((1, 2, 3))
        assert torch.equal((brightness > 127).long(), part.labels)


def test_pictures_are_decoded_once_and_again_when_one_changes(pictures: Path, cache_home: Path) -> None:
    before = Splits.load(section(root=str(pictures)))
    (cached,) = cache_home.rglob("*.npy")
    stamp = cached.stat().st_mtime_ns
    assert Splits.load(section(root=str(pictures))).fingerprint == before.fingerprint
    assert cached.stat().st_mtime_ns == stamp
    time.sleep(0.01)
    Image.fromarray(np.full((12, 12, 3), 7, np.uint8)).save(pictures / "test" / "dark" / "000.png")
    after = Splits.load(section(root=str(pictures)))
    assert after.fingerprint != before.fingerprint
    assert (after.test.images[0] == 7).all()
    assert len(list(cache_home.rglob("*.npy"))) == 1  # the old one is gone


def test_pictures_of_any_size_and_mode(tmp_path: Path, cache_home: Path) -> None:
    root = tmp_path / "any"
    draw_pictures(root / "dark", 10, size=(30, 20))
    draw_pictures(root / "light", 10, size=(16, 40))
    Image.new("L", (9, 9)).save(root / "dark" / "grey.gif")
    Image.new("RGBA", (50, 20)).save(root / "dark" / "alpha.png")
    (root / "dark" / ".DS_Store").write_text("litter")
    assert Splits.load(section(root=str(root), image_size=16)).train.images.shape[1:] == (16, 16, 3)
    assert Splits.load(section(root=str(root))).image_size == 224
    assert len(Splits.load(section(root=str(root), image_size=16)).test) == 4


def test_the_middle_of_a_wide_picture_is_kept_and_photographs_are_turned_upright(
    tmp_path: Path, cache_home: Path
) -> None:
    for name in ("a", "b"):
        draw_pictures(tmp_path / "set" / name, 5)
    wide = Image.new("RGB", (24, 8), "black")
    wide.paste("white", (8, 0, 16, 8))
    wide.save(tmp_path / "set" / "a" / "wide.png")
    turned = Image.new("RGB", (8, 8), "black")
    turned.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "set" / "a" / "turned.png", exif=exif)
    assert (read_image(tmp_path / "set" / "a" / "wide.png", 8) == 255).all()
    upright = read_image(tmp_path / "set" / "a" / "turned.png", 8)
    assert (upright[:4] == 0).all()
    assert (upright[4:] == 255).all()


def test_pictures_of_sixteen_bits_keep_what_is_grey_in_them(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 144).astype(np.uint16).reshape(12, 12)
    for name in ("grey.png", "grey.tif"):
        Image.fromarray(levels).save(tmp_path / name)
        for read in (read_image(tmp_path / name, 12), np.asarray(load_image(tmp_path / name))):
            assert (read == (levels >> 8)[..., None]).all()
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "floats.tif")
    for read in (lambda path: read_image(path, 12), load_image):
        with pytest.raises(
            UserError, match=r"floats\.tif: not a complete image \(32 bits per channel; 8 and 16 are supported"
        ):
            read(tmp_path / "floats.tif")


def test_links_that_lead_back_are_walked_once_and_names_are_only_names(tmp_path: Path, cache_home: Path) -> None:
    root = tmp_path / "set"
    for seed, name in enumerate(("a$b$c", "$\\frac$")):
        draw_pictures(root / name, 5, seed=seed)
        (root / name / "loop").symlink_to(".")
    os.rename(root / "$\\frac$", os.fsencode(root) + b"/caf\xe9")
    splits = Splits.load(section(root=str(root), batch_size=1, val_fraction=0.0))
    assert len(splits.train) + len(splits.test) == 10
    assert splits.classes == ("a$b$c", "caf\ufffd")


def test_val_is_validation_beside_test_and_the_test_split_without(pictures: Path) -> None:
    for seed, name in enumerate(("dark", "light")):
        draw_pictures(pictures / "val" / name, 10, seed=seed)
    splits = Splits.load(section(root=str(pictures)))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [80, 20, 20]
    shutil.rmtree(pictures / "test")
    splits = Splits.load(section(root=str(pictures)))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [72, 8, 20]


def damage(root: Path, how: str) -> None:
    victim = root / "train" / "dark" / "007.png"
    if how == "truncated":
        victim.write_bytes(victim.read_bytes()[:100])
    elif how == "text":
        victim.write_text("not a picture")
    elif how == "empty file":
        victim.write_bytes(b"")
    elif how == "stray":
        (root / "train" / "dark" / "notes.txt").write_text("hello")
    elif how == "no test":
        shutil.rmtree(root / "test")
    elif how == "one class":
        shutil.rmtree(root / "train" / "dark")
        shutil.rmtree(root / "test" / "dark")
    elif how == "empty":
        shutil.rmtree(root)
        root.mkdir()
    elif how == "missing":
        shutil.rmtree(root)
    elif how == "empty test":
        shutil.rmtree(root / "test")
        (root / "test" / "dark").mkdir(parents=True)
    elif how == "new class":
        (root / "test" / "dark").rename(root / "test" / "dusk")
    elif how == "pipe":
        victim.unlink()
        os.mkfifo(victim)
    elif how == "dangling":
        victim.unlink()
        victim.symlink_to("nowhere.png")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("truncated", "007.png: not a complete image"),
        ("text", "007.png: not a complete image"),
        ("empty file", "007.png: not a complete image"),
        ("stray", "notes.txt: not a complete image"),
        ("dangling", "007.png"),
        ("pipe", "007.png: not a file"),
        ("no test", "no test or val folder"),
        ("one class", "two or more are needed"),
        ("empty", "two or more are needed"),
        ("missing", "does not exist"),
        ("empty test", "the class folder has no images"),
        ("new class", "class 'dusk' of test/ is not in train/"),
    ],
)
def test_a_bad_folder_is_one_line_that_names_the_file(pictures: Path, cache_home: Path, how: str, says: str) -> None:
    damage(pictures, how)
    with pytest.raises(UserError) as error:
        Splits.load(section(root=str(pictures)))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert list(cache_home.rglob("*.tmp")) == []


@pytest.mark.parametrize("how", ["truncated", "text", "empty file", "stray"])
@pytest.mark.parametrize("cache", ["none", "disk"])
def test_bad_images_are_left_out_where_asked(pictures: Path, cache_home: Path, how: str, cache: str) -> None:
    damage(pictures, how)
    kept = 79 if how != "stray" else 80
    for _ in range(2):
        with pytest.warns(Note, match=r"^1 bad image\(s\) left out, the first: .*(007\.png|notes\.txt): not"):
            splits = Splits.load(section(root=str(pictures), on_bad="skip", cache=cache, val_fraction=0.0))
        assert (len(splits.train.images[:]), len(splits.test), splits.facts()["skipped"]) == (kept, 20, 1)


def test_a_class_of_bad_images_is_none(pictures: Path, cache_home: Path) -> None:
    for path in (pictures / "train" / "dark").iterdir():
        path.write_text("bad")
    with pytest.warns(Note, match="40 bad"), pytest.raises(UserError, match="one class folder with images"):
        Splits.load(section(root=str(pictures), on_bad="skip"))


@pytest.mark.parametrize(
    ("part", "flat", "says"),
    [
        ("val", False, "val' has no images; add class folders to it, or remove it"),
        ("valid", False, "valid' has no images"),
        ("val", True, "the images in .*val' are in no class folder"),
        ("test", True, "the images in .*test' are in no class folder; .* dlzoo predict classifies them"),
        ("test", False, "test' has no images"),
        ("train", True, "the images in .*train' are in no class folder"),
    ],
)
def test_a_part_without_class_folders_is_named(
    pictures: Path, cache_home: Path, part: str, flat: bool, says: str
) -> None:
    shutil.rmtree(pictures / part, ignore_errors=True)
    (pictures / part).mkdir()
    if flat:
        (pictures / part / "0.png").write_bytes(b"one")
    with pytest.raises(UserError, match=says):
        Splits.load(section(root=str(pictures)))


@pytest.mark.parametrize("place", ["train", "test"])
def test_images_beside_the_class_folders_are_counted_and_notes_are_not(
    pictures: Path, cache_home: Path, place: str
) -> None:
    for name in ("a.png", "b.JPG", "labels.csv", ".hidden.png"):
        (pictures / place / name).write_bytes(b"one")
    with pytest.warns(Note, match=rf"^2 image\(s\) beside the class folders are left out, such as .*{place}/a\.png"):
        splits = Splits.load(section(root=str(pictures)))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [72, 8, 20]


@pytest.mark.parametrize("target", ["..", "../..", "/", "."])
def test_a_link_to_a_folder_above_puts_no_file_into_another_class(
    pictures: Path, cache_home: Path, target: str
) -> None:
    (pictures / "train" / "dark" / "link").symlink_to(target)
    splits = Splits.load(section(root=str(pictures)))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [72, 8, 20]


@pytest.mark.parametrize(
    ("link", "target"),
    [("train/dark/link", "../light"), ("train/light/link", "../dark"), ("train/same", "dark"), ("val", "train"),
     ("test/light/link", "../../train/light")],
)  # fmt: skip
def test_a_link_to_another_class_or_part_is_refused(pictures: Path, cache_home: Path, link: str, target: str) -> None:
    (pictures / link).symlink_to(target)
    with pytest.raises(UserError, match=r"is the same folder as one in .*; remove the link"):
        Splits.load(section(root=str(pictures)))


# Where images are kept


@pytest.mark.filterwarnings("ignore:.*set data.leaks=drop")
@pytest.mark.parametrize("background", ["white", "black", "#ff0000"])
def test_a_background_has_a_decoded_file_of_its_own(pictures: Path, cache_home: Path, background: str) -> None:
    for path in pictures.rglob("*.png"):
        Image.new("RGBA", (12, 12)).save(path)
    for other in ("white", background, "white"):
        splits = Splits.load(section(root=str(pictures), background=other, val_fraction=0.0))
        assert (splits.train.images[:] == torch.tensor(ImageColor.getrgb(other))).all()
    assert len(list(cache_home.rglob("*.npy"))) == len({"white", background})


@pytest.mark.parametrize("cache", ["auto", "memory", "device", "none", "disk"])
@pytest.mark.parametrize("how", ["a file in the way", "a full disk", "no right to write"])
def test_a_cache_folder_that_cannot_be_written(
    pictures: Path, cache_home: Path, cache: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Splits.load(section(root=str(pictures), cache="none")).fingerprint
    if how == "a file in the way":
        shutil.rmtree(cache_home)
        cache_home.write_text("")
    elif how == "a full disk":
        monkeypatch.setattr(os, "fsync", raiser(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    else:
        monkeypatch.setattr(decode, "file_lock", raiser(PermissionError(errno.EACCES, os.strerror(errno.EACCES))))

    def load() -> Splits:
        return Splits.load(section(root=str(pictures), cache=cache, on_bad="skip"))

    if cache == "disk":
        with pytest.raises(UserError, match=r"cannot write decoded images to .*; .* XDG_CACHE_HOME, or set"):
            load()
        return
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("default")
        splits = load()
    assert splits.fingerprint == usual
    assert isinstance(splits.train.images, Tensor) == (cache != "none")
    assert [("are not kept for the next run" in str(note.message)) for note in notes] == [True] * (cache != "none")
    assert list(cache_home.rglob("*.tmp")) + list(cache_home.rglob("*.npy")) == []


def raiser(error: Exception) -> Callable:
    def fail(*words: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("cache", ["auto", "device", "memory", "disk", "none"])
def test_a_cache_changes_no_number(pictures: Path, cache_home: Path, cache: str) -> None:
    usual = Splits.load(section(root=str(pictures)))
    splits = Splits.load(section(root=str(pictures), cache=cache))
    kept = splits.train.images
    assert isinstance(kept, Tensor) == (cache in ("auto", "device", "memory"))
    assert splits.fingerprint == usual.fingerprint
    assert torch.equal(splits.train.labels, usual.train.labels)
    statistics = channel_statistics(kept)
    assert all(map(torch.equal, statistics, channel_statistics(usual.train.images)))
    assert torch.equal(splits.test.images[torch.tensor([3, 1])], usual.test.images[torch.tensor([3, 1])])
    feeds = [
        TrainLoader(
            part.train,
            ImageTransform(build("augment", "flip_crop"), Normalise(*statistics)),
            Streams(0),
            12,
            3,
            cache=part.settings.cache,
        )
        for part in (splits, usual)
    ]
    assert feeds[0].images.place == {"auto": "memory", "device": "memory"}.get(cache, cache)
    for step in (0, 1, 2, 5, 6, 4, 13):  # in turn, over an epoch's end, and with jumps
        for mine, theirs in zip(feeds[0].batches(step), feeds[1].batches(step), strict=True):
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.labels, theirs.labels)
    evaluations = [
        EvalLoader(part.test, Normalise(*statistics), 8, cache=part.settings.cache) for part in (splits, usual)
    ]
    for number in range(3):
        assert torch.equal(evaluations[0].batch(number).images, evaluations[1].batch(number).images)
    for feed_ in (*feeds, *evaluations):
        feed_.images.close()


def test_none_writes_no_file_and_a_file_that_goes_bad_is_one_line(pictures: Path, cache_home: Path) -> None:
    splits = Splits.load(section(root=str(pictures), cache="none"))
    assert list(cache_home.rglob("*.npy")) == []
    plain = ImageTransform(build("augment", "none"), Normalise(torch.zeros(3), torch.ones(3)))
    train = TrainLoader(splits.train, plain, Streams(0), 24)
    next(train.batches(0))
    for path in (pictures / "train").rglob("*.png"):
        path.write_bytes(b"gone bad")
    with pytest.raises(UserError, match=r"\.png: not a complete image"):
        for step in range(8):
            list(train.batches(step))
    train.images.close()


def test_auto_takes_the_first_place_that_has_room(
    pictures: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlzoo.data.storage import cache

    def place() -> str:
        images = Splits.load(section(root=str(pictures))).train.images
        return "memory" if isinstance(images, Tensor) else images.place

    assert place() == "memory"
    monkeypatch.setattr(cache.distributed, "available_memory", lambda: 1000)
    assert place() == "disk"
    shutil.rmtree(cache_home)
    monkeypatch.setattr(cache, "_OF_DISK", 0.0)
    assert place() == "none"
    splits = Splits.load(section(root=str(pictures), cache="memory"))  # who says so gets it
    assert isinstance(splits.train.images, Tensor)


def test_a_large_set_is_known_by_images_at_equal_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlzoo.data import split as image_set

    images = torch.randint(0, 256, (100, 4, 4, 1), dtype=torch.uint8)
    labels = torch.zeros(100, dtype=torch.int64)
    monkeypatch.setattr(image_set, "_MOST", 400)
    assert fingerprint(Split(images, labels)) == fingerprint(Split(images[::4].repeat_interleave(4, 0), labels))
    assert torch.equal(channel_statistics(images)[0], channel_statistics(images[::4])[0])


def test_two_processes_that_want_the_same_pictures_decode_them_once(pictures: Path, cache_home: Path) -> None:
    code = (
        "import sys; from dlzoo.data.storage import decode; from dlzoo.data.splits import Splits\n"
        "write = decode._write\n"
        "def spy(*words): print('decoded'); return write(*words)\n"
        "decode._write = spy\n"
        f"Splits.load({section(root=str(pictures))!r})"
    )
    both = [Command(code=code) for _ in range(2)]
    assert "".join(process.communicate()[0] for process in both) == "decoded\n"
    assert [process.returncode for process in both] == [0, 0]
