"""The small runs that `scripts/goldens.py` makes: what is typed, and the data that it is typed over.

A case is a list of command lines that are carried out in one folder, in order. "train" is `python CHECKOUT/train.py`,
"dlzoo" is `python -m dlzoo.cli`, "restart" is done here. What a line with --json prints is kept and compared.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

CPU = "trainer=cpu trainer.threads=1"
DIGITS = f"train {CPU} data.limit=200 data.batch_size=40 trainer.max_epochs=3 trainer.log_every=2"
MLP = f"{DIGITS} model=mlp model.hidden=[16] run_dir=run"
RESNET = f"{DIGITS} model=resnet20 model.width=4"
TABLE = f"train {CPU} trainer.max_epochs=3 model.hidden=[16] optimizer=adam run_dir=run"
FOLDER = f"train {CPU} data=image_folder data.root=images data.batch_size=8 data.image_size=16 trainer.max_epochs=3"
SHAPES = (
    f"train {CPU} data=shapes data.train=24 data.test=8 data.image_size=64 data.batch_size=8 optimizer=adam"
    " trainer.max_epochs=2 trainer.log_every=2 run_dir=run"
)
BACKBONE = "backbone=resnet18 backbone.width=16"
IMAGES = "images/test/grid/0.png images/test/grid/1.png images/test/noise/0.png"

_LINES: dict[str, list[str]] = {
    # Every task and kind of data.
    "classification": [f"{MLP} trainer.checkpoint_every=4", "dlzoo eval run=run data.test_shift=noise --json"],
    "images": [
        f"{FOLDER} model=resnet20 model.width=4 augment=strong run_dir=run",
        f"dlzoo predict run=run {IMAGES} --json",
        "dlzoo eval run=run augment.test=flip --json",
        f"{FOLDER} model=resnet20 model.width=4 init_from=run freeze=backbone run_dir=tuned",
        "dlzoo diff run tuned --json",
    ],
    "hard_data_sgd_l1": [
        f"{MLP} data.imbalance=4 data.label_noise=0.1 data.sampler=balanced data.test_shift=blur"
        " optimizer=sgd optimizer.l1=0.03 optimizer.weight_decay=0.01 loss.class_weights=[1,1,2,1,1,1,1,1,1,3]"
    ],
    "regression": [f"{TABLE} data=diabetes", "dlzoo eval run=run --json"],
    "table": [f"{TABLE} data=wine loss=hinge"],
    "csv_muon": [
        f"{TABLE} data=csv data.path=table.csv data.target=y data.batch_size=16 data.degree=2 loss=huber"
        " optimizer=muon optimizer.lr=0.02"
    ],
    "box_pairs": [
        f"train {CPU} data=box_pairs data.points=10 data.batch_size=full model.pairs=3430 loss=ciou optimizer=sgd"
        " optimizer.lr=0.1 schedule=multi_step trainer.max_epochs=10 trainer.clip_norm=null trainer.select=last"
        " run_dir=run"
    ],
    "yolo": [
        f"{SHAPES} model=yolo_tiny augment=yolo augment.mosaic=0.5 augment.mixup=0.4 augment.multi_scale=[64,96]",
        "dlzoo eval run=run nms=diou_nms nms.iou=0.5 --json",
        f"dlzoo predict run=run {IMAGES} --json",
    ],
    "retinanet": [f"{SHAPES} model=retinanet {BACKBONE} neck.width=16 model.depth=1 model.width=16 optimizer.lr=0.01"],
    "ssd": [f"{SHAPES} model=ssd300 {BACKBONE} model.width=32 augment=flip optimizer.lr=0.001"],
    "faster_rcnn": [
        f"{SHAPES} model=faster_rcnn {BACKBONE} neck.width=16 model.rois=16 model.proposals=32 model.hidden=[16]"
        " optimizer.lr=0.001"
    ],
    "yolov4": [f"{SHAPES} model=yolov4 {BACKBONE} neck=pan neck.depth=1 box_loss=ciou norm=gn optimizer.lr=0.001"],
    # Optimizers of other kinds.
    "adamw": [f"{RESNET} optimizer=adamw optimizer.layer_decay=0.8 schedule=one_cycle run_dir=run"],
    "lbfgs": [f"{MLP} optimizer=lbfgs data.batch_size=full augment=none"],
    "newton": [f"{DIGITS} model=linear optimizer=newton data.batch_size=full augment=none run_dir=run"],
    # What a training can be told.
    "plateau": [
        f"{MLP} trainer.ema=0.9 trainer.early_stopping=2 trainer.max_epochs=20 schedule=plateau schedule.patience=1"
    ],
    "mixing_sam": [
        f"{RESNET} augment=flip_crop augment.mixup=0.4 augment.cutmix=1 augment.cutout=3 optimizer=sam"
        " loss.label_smoothing=0.1 run_dir=run"
    ],
    "accumulate": [f"{RESNET} trainer.accumulate=4 schedule.warmup=0.2 trainer.self_adversarial=0.03 run_dir=run"],
    "ddp": [f"{RESNET} trainer=ddp_cpu norm=sync_bn run_dir=run"],
    "googlenet": [f"{DIGITS} model=googlenet data.limit=40 data.batch_size=20 trainer.max_epochs=1 run_dir=run"],
    "parts": [f"{RESNET} drop=dropout norm=gn attention=cbam act=prelu conv=separable run_dir=run"],
    "timm": [f"{DIGITS} model=timm model.arch=resnet10t norm=gn data.limit=40 trainer.max_epochs=1 run_dir=run"],
    "resume": [f"{MLP} optimizer.lr=3 schedule=constant trainer.max_epochs=8", "restart run", "dlzoo run run"],
    # Many runs.
    "sweep": [
        f"{RESNET.replace('train', 'train -m', 1)} trainer.max_epochs=1 name=norms sweep.dir=sweep norm=bn,gn seed=0,1",
        "dlzoo report sweep",
    ],
    "shared_training": [
        f"{SHAPES.replace('train', 'train -m', 1).replace('run_dir=run', 'name=nms sweep.dir=sweep')} model=yolo_tiny"
        " data.train=48 data.test=16 data.batch_size=4 optimizer.lr=0.01 trainer.max_epochs=8 trainer.select=last"
        " nms=nms,soft_nms_gaussian",
        "dlzoo report sweep",
    ],
    # Numbers without a training.
    "numbers": [
        "dlzoo show model resnet50 --json",
        "dlzoo show model yolov3 --json",
        "dlzoo list --parts --json",
        "dlzoo list model --json",
        "dlzoo anchors data=shapes data.train=24 data.image_size=64 --json",
    ],
}


def _without_repeats(line: str) -> str:
    """Return a command line of which the last of the settings of a key is kept: a key may be typed once."""
    words = line.split()
    if words[0] != "train":
        return line
    return " ".join({word.partition("=")[0]: word for word in words}.values())


#: case -> its command lines.
CASES = {name: list(map(_without_repeats, lines)) for name, lines in _LINES.items()}


def prepare(folder: Path) -> None:
    """Write the data that cases name: images/ (two classes of 16 px pictures) and table.csv, the same each time."""
    numbers = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 6)):
        for name in ("grid", "noise"):
            place = folder / "images" / part / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = numbers.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                if name == "grid":
                    pixels[:: index % 3 + 2] //= 4
                Image.fromarray(pixels).save(place / f"{index}.png")
    with (folder / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "kind", "y"])
        for index in range(80):
            a, b = numbers.normal(size=2).round(4)
            kind = "xyz"[index % 3]
            rows.writerow([a, "" if index % 9 == 0 else b, kind, round(2 * a - b + (kind == "x"), 4)])


def restart(run: Path) -> str | None:
    """Make of a finished run one that was killed after its best epoch, before it saved anything later.

    Returns what went wrong, or None.
    """
    record = json.loads((run / "run.json").read_text())
    if record["selected_epoch"] >= record["steps"] / record["steps_per_epoch"]:
        return f"the best epoch of {run} is its last one, and nothing is left to go on with"
    (run / "run.json").write_text(json.dumps(record | {"state": "interrupted"}))
    (run / "checkpoints" / "last.ckpt").unlink()
    return None
