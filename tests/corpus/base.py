"""What the cases of the corpus copy: small data of each kind, and two runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlzoo.core.errors import Interrupted
from dlzoo.engine.task_module import TaskModule
from tests.conftest import draw_pictures
from tests.small import SMALL, train

#: Images of each data set of boxes, and the box of each in pixels, x, y, width and height.
_COUNT, _SIDE, _BOX = 6, 24, (3, 4, 10, 12)


def furnish(root: Path) -> None:
    """Make pets/, yolo/, coco/, voc/, masks/, finished/ and interrupted/ (corpus.case)."""
    for name in ("dark", "light"):
        draw_pictures(root / "pets" / name, 12)
    for part in ("train", "val"):
        for number in range(1, _COUNT + 1):
            _draw(root / "yolo" / "images" / part / f"{number}.png", number + 100 * len(part))
            text = root / "yolo" / "labels" / part / f"{number}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            x, y, width, height = (edge / _SIDE for edge in _BOX)
            text.write_text(f"{number % 2} {x + width / 2} {y + height / 2} {width} {height}\n")
            _draw(root / "coco" / "images" / f"{part}{number}.png", number + 100 * len(part))
        _write_coco(root / "coco" / "annotations" / f"instances_{part}.json", part)
    _write_voc(root / "voc" / "VOC2007")
    _write_masks(root / "masks")
    _train(root)


def _draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (_SIDE, _SIDE, 3), dtype=np.uint8)).save(path)


def _write_coco(path: Path, part: str) -> None:
    numbers = range(1, _COUNT + 1)
    images = [{"id": n, "file_name": f"{part}{n}.png", "width": _SIDE, "height": _SIDE} for n in numbers]
    annotations = [{"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": list(_BOX)} for n in numbers]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def _write_voc(base: Path) -> None:
    for folder in ("Annotations", "ImageSets/Main"):
        (base / folder).mkdir(parents=True)
    x, y, width, height = _BOX
    for number in range(1, 2 * _COUNT + 1):
        _draw(base / "JPEGImages" / f"{number}.jpg", number)
        (base / "Annotations" / f"{number}.xml").write_text(
            f"<annotation>\n<size><width>{_SIDE}</width><height>{_SIDE}</height><depth>3</depth></size>\n"
            f"<object><name>{'dog' if number % 2 else 'cat'}</name>\n<bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
            f"<xmax>{x + width}</xmax><ymax>{y + height}</ymax></bndbox></object>\n</annotation>\n"
        )
    for part, numbers in (("trainval", range(1, _COUNT + 1)), ("test", range(_COUNT + 1, 2 * _COUNT + 1))):
        (base / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{number}\n" for number in numbers))


def _write_masks(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "masks").mkdir(parents=True)
        for number in range(1, _COUNT + 1):
            _draw(root / part / "images" / f"{number}.png", number + 100 * len(part))
            mask = np.resize(np.arange(number, number + 3) % 3, (_SIDE, _SIDE)).astype(np.uint8)
            Image.fromarray(mask).save(root / part / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("rest\ncat\ndog\n")
    (root / "two.txt").write_text("rest\ncat\n")
    (root / "grey.txt").write_text("rest 0 0 0\ncat 1 1 1\ndog 2 2 2\n")


def _train(root: Path) -> None:
    train(*SMALL, "trainer.threads=1", f"run_dir={root / 'finished'}")
    ends = TaskModule.on_train_epoch_end

    def stop(task: TaskModule) -> None:
        task.stop_requested = True
        ends(task)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TaskModule, "on_train_epoch_end", stop)
        with pytest.raises(Interrupted):
            train(*SMALL, "trainer.threads=1", f"run_dir={root / 'interrupted'}")
    shutil.rmtree(root / "outputs", ignore_errors=True)
