"""Measure a detector on 60 images of your own: the defaults of `data=yolo_txt`, and a plain loop around its network.

python scripts/bench_own_boxes.py data VOCdevkit/VOC2007 boxes      # writes boxes/mine: 60 images, and 150 to test on
python scripts/bench_own_boxes.py defaults boxes/mine --seeds 0 1 2 # python train.py data=yolo_txt data.root=boxes/mine
python scripts/bench_own_boxes.py plain boxes/mine --seeds 0 1 2    # the loop of scripts/plain_detection.py
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from plain_detection import STEPS, train_and_test

#: Classes, number of images to train on and to test on, and the limits of an image's longer side in pixels.
CLASSES, TRAIN, TEST, SIDES = ("person", "car"), 60, 150, (160, 320)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, all of its threads and finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def write_data(voc: Path, folder: Path) -> None:
    """Write the images of VOC that have an object of CLASSES, made smaller, with their boxes, in YOLO's format.

    The parts, and the side of each image, are drawn by fixed seeds.
    """
    names = sorted(path.stem for path in (voc / "Annotations").glob("*.xml") if _boxes(path))
    random.Random(0).shuffle(names)
    parts = {"train": names[:TRAIN], "test": names[TRAIN : TRAIN + TEST]}
    for part, chosen in parts.items():
        for name in chosen:
            _write_image(voc, folder / "mine", part, name)
        print(f"{part}: {len(chosen)} images")
    (folder / "mine" / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))


def _boxes(path: Path) -> list[tuple[int, list[float]]]:
    """Return the objects of CLASSES in an XML file: class and x1, y1, x2, y2, from 0."""
    found = []
    for thing in ET.parse(path).getroot().iter("object"):
        name = thing.findtext("name")
        if name in CLASSES:
            corners = [float(thing.findtext(f"bndbox/{side}") or 0) for side in ("xmin", "ymin", "xmax", "ymax")]
            found.append((CLASSES.index(name), [corners[0] - 1, corners[1] - 1, *corners[2:]]))
    return found


def _write_image(voc: Path, folder: Path, part: str, name: str) -> None:
    for kind in ("images", "labels"):
        (folder / kind / part).mkdir(parents=True, exist_ok=True)
    image = Image.open(voc / "JPEGImages" / f"{name}.jpg").convert("RGB")
    width, height = image.size
    scale = random.Random(name).randint(*SIDES) / max(width, height)
    small = image.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    small.save(folder / "images" / part / f"{name}.jpg", quality=92)
    lines = []
    for label, (x1, y1, x2, y2) in _boxes(voc / "Annotations" / f"{name}.xml"):
        box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{label} {' '.join(f'{side:.6f}' for side in box)}")
    (folder / "labels" / part / f"{name}.txt").write_text("\n".join(lines) + "\n")


def run_defaults(root: Path, seed: int, settings: Sequence[str]) -> float:
    """Train with the defaults on one thread and return AP50 of the test split."""
    import dlzoo

    with tempfile.TemporaryDirectory() as folder:
        words = ["data=yolo_txt", f"data.root={root}", f"seed={seed}", "trainer=cpu", "trainer.threads=1"]
        run = dlzoo.train([*words, f"run_dir={folder}/run", *settings], quiet=True)
        return run.metrics["test/map50_voc10"]


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="write boxes/mine")
    data.add_argument("voc", type=Path)
    data.add_argument("folder", type=Path)
    for name in ("defaults", "plain"):
        command = commands.add_parser(name)
        command.add_argument("root", type=Path)
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        if name == "plain":
            command.add_argument("--steps", type=int, default=STEPS)
        else:
            command.add_argument("--settings", nargs="*", default=[], help="other settings: data.image_size=224")
    arguments = parser.parse_args()
    if arguments.command == "data":
        write_data(arguments.voc, arguments.folder)
        return
    found = []
    for seed in arguments.seeds:
        began = cpu_seconds()
        if arguments.command == "defaults":
            found.append(run_defaults(arguments.root, seed, arguments.settings))
        else:
            found.append(train_and_test(arguments.root, seed, arguments.steps))
        print(f"seed {seed}: AP50 {found[-1]:.4f}, {cpu_seconds() - began:.0f} CPU s", flush=True)
    print(f"median of {len(found)}: {statistics.median(found):.4f}")


if __name__ == "__main__":
    main()
