"""Folders of images that cannot be read, or learnt from."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.corpus.case import Case

_LINE = "train data=image_folder data.root=d data.image_size=16 model=mlp"
Make = Callable[[Path, Path], None]


def _encoded(kind: str = "PNG", side: int = 12, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    shape = (side, side, len(mode)) if mode == "RGB" else (side, side)
    pixels = np.random.default_rng(0).integers(0, 255, shape)
    image = Image.fromarray(pixels.astype(np.float32) if mode == "F" else pixels.astype(np.uint8))
    image.save(file, kind)
    return file.getvalue()


_PNG, _JPEG = _encoded(), _encoded("JPEG", 40)
#: Contents of a file that is no complete image.
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "text": b"no image",
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "heic": b"\x00\x00\x00\x18ftypheic" + bytes(80),
    "zeros": bytes(4000),
    "png cut": _PNG[: len(_PNG) // 2],
    "png header only": _PNG[:40],
    "jpeg cut": _JPEG[: len(_JPEG) // 2],
    "jpeg header only": _JPEG[:30],
    "png with another size": _PNG[:16] + (70000).to_bytes(4, "big") * 2 + _PNG[24:],
    "float": _encoded("TIFF", mode="F"),
    "gif cut": b"GIF89a\x01\x00",
    "bmp cut": b"BM" + bytes(30),
    "webp cut": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
}


def pets(change: Callable[[Path], object]) -> Make:
    """Copy the folder of two classes to d and change it."""

    def make(folder: Path, base: Path) -> None:
        shutil.copytree(base / "pets", folder / "d")
        change(folder / "d")

    return make


def tree(*files: str) -> Make:
    """Make these images."""

    def make(folder: Path, base: Path) -> None:
        for number, name in enumerate(files):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, "PNG")

    return make


def many(*folders: str, count: int = 5) -> Make:
    return tree(*(f"{folder}/{number}.png" for folder in folders for number in range(count)))


KINDS: dict[str, list[Case]] = {
    "files that are no complete image": [
        Case(_LINE, "bad.png", pets(lambda root, data=data: (root / "dark" / "bad.png").write_bytes(data)))
        for data in BROKEN.values()
    ],
    "files that are no complete image, decoded each time": [
        Case(
            f"{_LINE} data.cache=none trainer.max_epochs=1 data.batch_size=4",
            "bad.png",
            pets(lambda root, data=data: (root / "dark" / "bad.png").write_bytes(data)),
            leaves=("outputs*",),
        )
        for name, data in BROKEN.items()
        if name != "float"
    ][:8],
    "colours and ranges, before anything is listed": [
        Case(
            f"train data={data} data.root=d '{words}'",
            says,
            lambda folder, base: (folder / "d" / "a").mkdir(parents=True),
        )
        for data in ("image_folder", "coco_json", "yolo_txt", "voc_xml")
        for words, says in (
            ("data.background=nope", "data.background=nope is not a colour"),
            ("data.range=[1,2,3]", "data.range must be auto or a list of 2, each an integer from 0 to 65,535, not"),
            ("data.range=[9,2]", "data.range=[9, 2] must be auto, or two values of 0 to 65535"),
            ("data.range=[7]", "data.range must be auto or a list of 2, each"),
        )
    ],
    "folders without classes": [
        Case("train data=image_folder", "data.root"),
        Case("train data=image_folder data.root=d", "d"),
        Case(_LINE, "d", lambda folder, base: (folder / "d").mkdir()),
        Case(_LINE, "d", many("d")),
        Case(_LINE, "d", many("d/one")),
        Case(_LINE, "d", many("d/.hidden", "d/.git")),
        Case("train data=image_folder data.root=", "data.root"),
        Case(_LINE, "empty", pets(lambda root: (root / "empty").mkdir())),
        Case(_LINE, "d", lambda folder, base: (folder / "d").symlink_to(folder / "nowhere")),
    ],
    "parts that are not clear": [
        Case(_LINE, "d", many(*(f"d/{part}/{name}" for part in parts for name in ("cat", "dog"))))
        for parts in (
            ("train",),
            ("first", "second"),
            ("train", "Training", "test"),
            ("train", "test", "extra"),
            ("fold_1", "fold_2", "fold_3"),
            ("val", "test"),
            ("test",),
            ("valid", "val", "train"),
        )
    ],
    "classes that training does not have": [
        Case(_LINE, "is not in train", many("d/train/cat", "d/train/dog", *others))
        for others in (
            ("d/test/cow",),
            ("d/test/cat", "d/test/Dog"),
            ("d/val/cow", "d/test/cat"),
            ("d/test/dogs", "d/test/cat"),
            ("d/test/cat ",),
        )
    ],
    "masks and labels beside images": [
        Case(_LINE, "images", many(*(f"d/{name}" for name in names)))
        for names in (
            ("images", "masks"),
            ("images", "labels"),
            ("JPEGImages", "Annotations"),
            ("imgs", "masks"),
            ("Images", "Masks"),
        )
    ],
    "too few images": [
        Case(_LINE, "", many("d/cat", "d/dog", count=1)),
        Case(f"{_LINE} data.batch_size=64", "data.batch_size", many("d/cat", "d/dog", count=5)),
        Case(f"{_LINE} data.val_fraction=0.01 data.batch_size=4", "", many("d/cat", "d/dog", count=5)),
        Case(f"{_LINE} data.batch_size=9", "data.batch_size", many("d/cat", "d/dog", count=5)),
        Case(f"{_LINE} data.limit=2 data.batch_size=4", "", many("d/cat", "d/dog", count=5)),
    ],
    "sizes of images": [
        Case(
            f"train data=image_folder data.root=d model=mlp data.image_size={size}",
            "data.image_size",
            many("d/cat", "d/dog"),
        )
        for size in (0, -1, 5000, "big", 1.5, "[32,32]", "32x32", 100000000000)
    ],
    "pipes and devices where images belong": [
        Case(_LINE, "pipe.png", pets(lambda root: os.mkfifo(root / "dark" / "pipe.png"))),
        Case(_LINE, "null.png", pets(lambda root: (root / "dark" / "null.png").symlink_to("/dev/null"))),
        Case(_LINE, "zero.png", pets(lambda root: (root / "dark" / "zero.png").symlink_to("/dev/zero"))),
        Case(_LINE, "gone.png", pets(lambda root: (root / "dark" / "gone.png").symlink_to("nowhere"))),
        Case(f"{_LINE} data.cache=none", "pipe.png", pets(lambda root: os.mkfifo(root / "light" / "pipe.png"))),
        Case("train data=image_folder data.root=/dev/null", "/dev/null"),
        Case("train data=image_folder data.root=pipe", "pipe", lambda folder, base: os.mkfifo(folder / "pipe")),
    ],
    "files that predict cannot read": [
        Case("predict run=run bad.png", "bad.png", lambda folder, base, data=data: _run_and_file(folder, base, data))
        for data in BROKEN.values()
    ],
    "predictions of what is no file": [
        Case(f"predict run=run {name}", name, lambda folder, base: _run_and_file(folder, base, None))
        for name in (
            "none.png",
            "run",
            "/dev/null",
            "/dev/zero",
            "pipe",
            "../none.png",
            "*.png",
            "link",
            f"{'x' * 300}.png",
        )
    ],
}


def _run_and_file(folder: Path, base: Path, data: bytes | None) -> None:
    shutil.copytree(base / "finished", folder / "run")
    if data is None:
        os.mkfifo(folder / "pipe")
        (folder / "link").symlink_to("nowhere")
    else:
        (folder / "bad.png").write_bytes(data)
