"""Masks that cannot be read, or learnt from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.corpus.boxes import copy
from tests.corpus.case import Case
from tests.corpus.images import BROKEN

_LINE = "train data=mask_folder data.root=d data.batch_size=2"
_COCO = "train data=coco_masks data.root=d data.batch_size=2"
_PUBLISHED = {"voc2012_seg": "VOC2012", "oxford_pets": "oxford-iiit-pet"}
Make = Callable[[Path, Path], None]
#: The mask that cases change.
_MASK = "train/masks/2.png"


def _masks(change: Callable[[Path], object] = lambda root: None) -> Make:
    return copy("masks", change)


def _mask(pixels: Any, name: str = _MASK) -> Make:
    """Replace a mask by another one, whose pixels are numbers or colours."""

    def save(root: Path) -> None:
        (root / _MASK).unlink()
        Image.fromarray(np.asarray(pixels)).save(root / name)

    return _masks(save)


def _file(name: str, content: str | bytes) -> Make:
    data = content.encode() if isinstance(content, str) else content
    return _masks(lambda root: (root / name).write_bytes(data))


def _grey(*values: int) -> np.ndarray:
    """A mask of 24 x 24 pixels with these values in turn."""
    return np.resize(np.array(values), (24, 24)).astype(np.uint8)


def _rgb(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.resize(np.array(colours, np.uint8), (24, 24, 3))


def _remove(*names: str) -> Make:
    return _masks(lambda root: [shutil.rmtree(root / name) for name in names])


def _move(*pairs: tuple[str, str]) -> Make:
    return _masks(lambda root: [shutil.move(root / old, root / new) for old, new in pairs])


def _both(part: str, to: str) -> Make:
    return _masks(lambda root: shutil.copytree(root / part, root / to))


def _coco(**values: Any) -> Make:
    def edit(root: Path) -> None:
        path = root / "annotations" / "instances_train.json"
        content = json.loads(path.read_text())
        for each in content["annotations"]:
            each["segmentation"] = [[2, 2, 12, 2, 12, 9]]
        content["annotations"][1].update(values)
        path.write_text(json.dumps(content))

    return copy("coco", edit)


def _runs(**values: Any) -> Make:
    return _coco(segmentation={"counts": [576], "size": [24, 24]} | values)


KINDS: dict[str, list[Case]] = {
    "masks that are no complete image": [
        Case(_LINE, "2.png", _file(_MASK, data)) for data in list(BROKEN.values())[::2]
    ],
    "images with masks that are no complete image": [
        Case(_LINE, "2.png", _file("train/images/2.png", data)) for name, data in BROKEN.items() if name != "float"
    ][1::3],
    "values outside the classes": [
        Case(_LINE, f"value {value} is outside the 3 classes", _mask(_grey(0, 1, value)))
        for value in (3, 4, 17, 200, 254)
    ],
    "values of masks with 16 and 32 bits": [
        Case(_LINE, says, make)
        for make, says in (
            (_mask(np.full((24, 24), 256, np.uint16)), "value 256 is outside"),
            (_mask(np.full((24, 24), 65535, np.uint16)), "value 65535 is outside"),
            (_mask(_grey(0, 1).astype(np.uint16) * 257), "value 257 is outside"),
            (_mask(np.arange(576, dtype=np.uint16).reshape(24, 24)), "576 different values"),
            (_mask(np.full((24, 24), 70_000, np.int32), "train/masks/2.tif"), "a mask with numbers from 70000"),
            (_mask(np.full((24, 24), -1, np.int32), "train/masks/2.tif"), "a mask with numbers from -1"),
            (_mask(np.full((24, 24), 0.5, np.float32), "train/masks/2.tif"), "numbers that are not whole"),
        )
    ],
    "smoothed masks": [
        Case(_LINE, says, make)
        for make, says in (
            (_mask(_grey(*range(256))), "different values"),
            (_mask(_grey(*range(0, 256, 16))), "16 different values"),
            (_mask(_grey(*range(40))), "40 different values"),
            (_mask(_grey(*range(3), 60, 130, 190, 222, 240, 255)), "9 different values"),
        )
    ]
    + [
        Case(_LINE, "JPEG changes the values of masks", _mask(_grey(*values), "train/masks/2.jpg"))
        for values in ((0, 1, 2, 9), (0, 0, 0, 255, 255, 255), (5, 90))
    ],
    "RGB masks without a colour table": [
        Case(_LINE, "set data.colours to a file", _mask(_rgb(*colours)))
        for colours in (
            ((0, 0, 0), (128, 0, 0)),
            ((128, 0, 0),),
            ((0, 0, 0), (128, 0, 0), (0, 128, 0)),
            ((255, 255, 255), (0, 0, 1)),
            tuple((number, 0, 255 - number) for number in range(200)),
        )
    ],
    "colours that are not in the table": [
        Case(f"{_LINE} data.colours=grey.txt", says, make)
        for make, says in (
            (_mask(_rgb((0, 0, 0), (9, 9, 9))), "the colour 9 9 9 is not in"),
            (_mask(_rgb((0, 0, 0), (0, 0, 1))), "the colour 0 0 1 is not in"),
            (
                _mask(
                    _rgb(
                        (255, 255, 254),
                    )
                ),
                "the colour 255 255 254 is not in",
            ),
            (_mask(_grey(0, 1, 2, 3)), "the colour 3 3 3 is not in"),
            (_mask(_rgb(*((number, 5, 5) for number in range(99)))), "99 different colours"),
            (_mask(np.full((24, 24), 900, np.uint16)), "leave data.colours out"),
        )
    ],
    "tables of colours": [
        Case(f"{_LINE} data.colours=bad.txt", "bad.txt", _file("bad.txt", content))
        for content in (
            "",
            "sky 0 0\n",
            "sky 0 0 256\n",
            "sky 0 0 0\ncar 0 0 0\n",
            "sky 0 0 a\n",
            "sky 0 0 0\n",
            b"\xff\xfe\x00",
            "sky 0.5 0.5 0.5\n",
        )
    ],
    "names of the classes of masks": [
        Case(_LINE, "classes.txt", _file("classes.txt", content))
        for content in (
            "",
            "\n\n",
            "a\na\n",
            "a\n\nb\n",
            "a\n",
            b"\xff\xfe\x00",
            "".join(f"class{number}\n" for number in range(256)),
        )
    ],
    "files of classes that are not there": [
        Case(f"{_LINE} {words}", says, _masks())
        for words, says in (
            ("data.classes=none.txt", "data.classes: no file 'none.txt'"),
            ("data.colours=none.txt", "data.colours: no file 'none.txt'"),
            ("data.classes=train", "data.classes: no file 'train'"),
            ("data.classes=classes.txt data.colours=grey.txt", "data.classes and data.colours"),
            ("data.colours=", "data.colours"),
        )
    ],
    "classes that are ignored or merged": [
        Case(f"{_LINE} '{words}'", says, _masks())
        for words, says in (
            ("data.ignore=[catt]", "data.ignore: unknown class 'catt'; did you mean 'cat'?"),
            ("data.ignore=[cat,dog]", "1 class(es) of pixels"),
            ("data.ignore=cat", "data.ignore must be a list"),
            ("data.merge=[cat]", "data.merge: 'cat' must be the names of classes and a new one"),
            ('data.merge=["cat+dog:"]', "data.merge: 'cat+dog:' must be"),
            ("data.merge=[cat+cow:pet]", "data.merge: unknown class 'cow'"),
            ("data.merge=[cat+cat:pet]", "data.merge: 'cat' is already merged"),
            ("data.merge=[cat:dog]", "data.merge: there are two classes 'dog' then"),
            ("data.merge=[cat:pet,dog:pet]", "data.merge: there are two classes 'pet' then"),
        )
    ],
    "masks of another size than their image": [
        Case(_LINE, "24x24; both must have the same size", _mask(np.zeros(shape, np.uint8)))
        for shape in ((23, 24), (24, 25), (12, 12), (1, 1), (48, 48))
    ],
    "images and masks without a partner": [
        Case(_LINE, says, _masks(change))
        for change, says in (
            (lambda root: (root / _MASK).unlink(), "images/2.png: no mask of this name"),
            (lambda root: (root / "train/images/2.png").unlink(), "masks/2.png: no image of this name"),
            (lambda root: (root / _MASK).rename(root / "train/masks/two.png"), "images/2.png: no mask of this name"),
            (lambda root: shutil.copy(root / _MASK, root / "train/masks/2.gif"), "the same name without suffix"),
            (
                lambda root: shutil.copy(root / "train/images/2.png", root / "train/images/2.jpg"),
                "the same name without suffix",
            ),
            (lambda root: os.mkfifo(root / "train/masks/pipe.png"), "masks/pipe.png: no image of this name"),
            (lambda root: [(root / _MASK).unlink(), os.mkfifo(root / _MASK)], "2.png"),
        )
    ],
    "folders of images with masks": [
        Case("train data=mask_folder", "data.root"),
        Case(_LINE, "d"),
        Case(_LINE, "no folders images and masks", lambda folder, base: (folder / "d").mkdir()),
        Case(_LINE, "the train folder", _remove("train/masks")),
        Case(_LINE, "the test folder", _remove("test/images")),
        Case(_LINE, "not train", _remove("train")),
        Case(_LINE, "no folders images and masks", _remove("train/masks", "test/masks")),
        Case(_LINE, "are both named for the train part", _both("train", "training")),
        Case(_LINE, "could each be the masks", _both("train/masks", "train/labels")),
        Case(_LINE, "no folders images and masks", _move(("train", "first"), ("test", "second"))),
        Case(
            _LINE,
            "is in only one of",
            _masks(
                lambda root: (
                    [
                        shutil.move(root / old, root / new)
                        for old, new in (("train/images", "images/train"), ("test/images", "images/test"))
                        for _ in [(root / new).parent.mkdir(exist_ok=True)]
                    ]
                    + [shutil.move(root / "train/masks", root / "masks/train") for _ in [(root / "masks").mkdir()]]
                )
            ),
        ),
        Case(_LINE, "no images in", _masks(lambda root: [path.unlink() for path in (root / "test/images").iterdir()])),
    ],
    "masks without a class": [
        Case(f"{_LINE} {words}", says, make)
        for words, says, make in (
            ("", "no pixel of the", _masks(lambda root: _fill(root, "train", 255))),
            ("", "no pixel of the", _masks(lambda root: _fill(root, "test", 255))),
            ("data.classes=two.txt", "value 2 is outside", _masks()),
            ("data.ignore=[rest] data.classes=two.txt", "1 class(es)", _masks()),
            ("data.on_bad=skip", "train has no good image", _masks(lambda root: _fill(root, "train", 9))),
            ("data.on_bad=skip", "test has no good image", _masks(lambda root: _fill(root, "test", 9))),
        )
    ],
    "settings of images with masks": [
        Case(f"{_LINE} {words}", says, _masks())
        for words, says in (
            ("data.image_size=0", "data.image_size"),
            ("data.crop=4", "data.crop"),
            ("data.on_bad=clip", "data.on_bad"),
            ("data.background=nope", "data.background=nope is not a colour"),
            ("'data.range=[9,2]'", "data.range"),
            ("augment.mixup=0.2", "augment.mixup"),
            ("model=resnet20", "resnet20"),
            ("data.imbalance=10", "data.imbalance"),
            ("data.sampler=balanced", "data.sampler"),
        )
    ],
    "polygons of COCO files": [
        Case(_COCO, "instances_train.json", _coco(segmentation=value))
        for value in (
            None,
            "1,2,3",
            [1, 2, 3, 4, 5, 6],
            [[1, 2, 3, 4]],
            [[1, 2, 3, 4, 5, 6, 7]],
            [[1, 2, 3, 4, 5, "6"]],
            [[1, 2, 3, 4, 5, 1e300]],
            [[float("nan")] * 6],
            [[100, 100, 120, 100, 120, 120]],
        )
    ],
    "run-length encodings of COCO files": [
        Case(_COCO, "instances_train.json", make)
        for make in (
            _runs(counts=[575]),
            _runs(counts=[-1, 577]),
            _runs(counts=[1.5, 574.5]),
            _runs(counts=None),
            _runs(counts="PP"),
            _runs(counts="\u00e9"),
            _runs(size=[24, 25]),
            _runs(size="24x24"),
            _coco(segmentation={}),
        )
    ],
    "files that published masks lack": [
        Case(f"train data={name} {words}", says, make)
        for name, folder in _PUBLISHED.items()
        for words, says, make in (
            ("data.root=nowhere", folder, None),
            ("data.root=d", folder, lambda there, base: (there / "d").mkdir()),
            ("data.root=d", ".txt", lambda there, base, folder=folder: (there / "d" / folder).mkdir(parents=True)),
        )
    ],
}


def _fill(root: Path, part: str, value: int) -> None:
    for path in (root / part / "masks").iterdir():
        Image.fromarray(_grey(value)).save(path)
