"""Detection from its line to its pictures: every part meets every other, and what does not fit is said."""

import json
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlzoo.builder.evaluate import evaluate
from dlzoo.builder.model import build_loss
from dlzoo.builder.predict import predict
from dlzoo.builder.weights import load_state, trained_state
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.registries import BOX_LOSSES, NMS
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.conftest import draw_pictures
from tests.processes import fork_runs
from tests.small import SMALL_BACKBONE, SMALL_PARTS, TINY, last_of_each, logged, same, train, weights

#: Less data than TINY has, for tests of several trainings.
FEW = ["data.train=12", "data.test=4", "data.batch_size=4"]
YOLO = last_of_each([*TINY, *FEW, "model=yolo_tiny", *SMALL_BACKBONE])
DETECTORS = [name for name in index.available("model") if "detect" in index.marks("model", name).tasks]


@pytest.mark.parametrize(
    "model", [m if m != "yolo_tiny" else pytest.param(m, marks=pytest.mark.draws) for m in DETECTORS]
)
def test_every_detector_trains_tests_and_goes_on_to_the_bit(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [*TINY, f"model={model}", *SMALL_BACKBONE, *SMALL_PARTS.get(model, []), *FEW, "trainer.limit_batches=2"]
    whole = train(*small, "augment.mosaic=0.5", "run_dir=whole")
    record = RunDir.open(whole.dir).read()
    assert record["task"] == "detect" and record["tested"] == 4
    drawn = {"curves", "predictions", "precision_recall", "classes", "errors"}
    assert set(record["pictures"]) == (drawn if model == "yolo_tiny" else set())
    assert 0 <= record["metrics"]["test/map50_voc10"] <= 1 and "test/errors_missed" in record["metrics"]
    assert len(record["by_class"][index.marks("task", "detect").class_metric.name]) == len(record["classes"])

    ends = TaskModule.on_train_epoch_end

    def stop(task: TaskModule) -> None:
        task.stop_requested = True
        ends(task)

    with monkeypatch.context() as patched:
        patched.setattr(TaskModule, "on_train_epoch_end", stop)
        with pytest.raises(BaseException, match="resume with"):
            train(*small, "augment.mosaic=0.5", "run_dir=parts")
    parts = train("resume=parts")
    assert same(weights(whole), weights(parts))
    assert logged(whole.dir) == logged(parts.dir)


@pytest.mark.parametrize("name", BOX_LOSSES.names())
def test_every_box_loss_trains(name: str) -> None:
    run = train(*YOLO, f"box_loss={name}", "trainer=debug")
    assert np.isfinite(run.metrics["train/box_loss"]) and run.metrics["train/box_loss"] > 0


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        *[("yolo_tiny", loss) for loss in ("bce", "nll", "cross_entropy", "focal", "focal loss.form=sigmoid")],
        *[("retinanet", loss) for loss in ("bce", "cross_entropy")],
    ],
)
def test_every_loss_of_classes_trains(model: str, loss: str) -> None:
    small = [*TINY, *FEW, f"model={model}", *SMALL_BACKBONE, *SMALL_PARTS.get(model, [])]
    run = train(*small, *f"loss={loss}".split(), "trainer=debug")
    assert run.metrics["train/class_loss"] > 0


def test_the_suppressor_is_changed_after_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlzoo.tasks.detection.spec._plots_of_objects", lambda tested: {})  # most of the time
    run = train(*YOLO)
    before = evaluate(str(run.dir))
    assert before == {key: value for key, value in run.metrics.items() if key.startswith("test/")}
    for name in NMS.names():
        after = evaluate(str(run.dir), [f"nms={name}"])
        assert after.keys() == before.keys()
        found = json.loads((run.dir / "eval" / f"nms={name}" / "detections.json").read_text())
        assert len(found) == 4
    assert evaluate(str(run.dir), ["nms.detections=1"])["test/errors_missed"] >= before["test/errors_missed"]


def test_runs_that_differ_in_the_suppressor_are_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_runs(monkeypatch)
    line = [*YOLO, "trainer.select=last", "name=once", "nms=nms,diou_nms", "seed=1", "executor.workers=1"]
    assert main(["train", "-m", *line]) == 0
    runs = [RunDir.open(path.parent) for path in Path("outputs/once").glob("*/run.json")]
    assert len(runs) == 2
    dependents = [run for run in runs if "trained_by" in run.read()]
    assert [run.read()["config"]["nms"]["name"] for run in dependents] == ["diou_nms"]
    for dependent in dependents:
        source = RunDir.open(Path("outputs/once") / dependent.read()["trained_by"])
        assert source.read()["seed"] == dependent.read()["seed"] and source.read()["config"]["nms"]["name"] == "nms"
        assert same(weights(dependent), weights(source))
        names = {name for each in read_metrics(dependent.metrics_file) for name in each}
        assert "train/loss" in names and not any(name.startswith("val/") for name in names)  # its answers were others
        board = EventAccumulator(str(dependent.path)).Reload()
        assert {"train/loss", "lr", "test/map50_voc10"} <= set(board.Tags()["scalars"])
    alone = train(*YOLO, "trainer.select=last", "nms=diou_nms", f"seed={dependents[0].read()['seed']}")
    assert same(weights(dependents[0]), weights(alone)), "what is copied is what it would have learnt itself"


def test_predict_says_where_objects_are_in_pixels_of_the_picture(capsys: pytest.CaptureFixture) -> None:
    run = train(*YOLO, "nms.min_score=0")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)).save("a.png")
    assert main(["predict", f"run={run.dir}", "a.png", "--out", "found"]) == 0
    assert "a.png: " in capsys.readouterr().out
    (answer,) = json.loads(Path("found/predictions.json").read_text())
    assert answer["objects"], "with min_score=0 there is always something"
    for one in answer["objects"]:
        x1, y1, x2, y2 = one["box"]
        assert 0 <= x1 <= x2 <= 120 and 0 <= y1 <= y2 <= 50 and one["name"] in RunDir.open(run.dir).read()["classes"]
    with Image.open("found/a-found.png") as picture:
        assert picture.size[0] >= 120
    capsys.readouterr()
    assert main(["predict", f"run={run.dir}", "a.png", "nms=diou_nms", "nms.min_score=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["objects"] == []
    assert main(["predict", f"run={run.dir}", "a.png", "nms.iou=2"]) == 2
    assert "nms.iou" in capsys.readouterr().err
    before = Path("found/predictions.json").read_bytes()
    assert main(["predict", f"run={run.dir}", "a.png", "--out", "found"]) == 2
    assert "already exists; choose another folder" in capsys.readouterr().err
    assert Path("found/predictions.json").read_bytes() == before
    Path("a-found.png").write_bytes(Path("a.png").read_bytes())
    assert main(["predict", f"run={run.dir}", "a-found.png", "a.png", "--out", "."]) == 2
    assert Path("a-found.png").read_bytes() == Path("a.png").read_bytes()
    assert predict(str(run.dir), ["a.png", "a.png"])[1]["picture"].endswith("a-found-2.png")
    long = [f"{letter * (251 // len(letter.encode()))}{end}.png" for letter in "aé長" for end in ("", "b")]
    long = [name for name in long if len(name.encode()) <= 255]
    for name in long:
        shutil.copy("a.png", name)
    pictures = [Path(each["picture"]) for each in predict(str(run.dir), [*long, *long[:1]])]
    assert len({*pictures}) == len(pictures) == len(long) + 1 > 3 and all(path.is_file() for path in pictures)
    assert all(path.name.startswith(name[:70]) for path, name in zip(pictures[:-1], long, strict=True))
    Path("file").touch()
    with pytest.raises(
        UserError, match=r"^file/a-found\.png: cannot be written \(.*\); name another folder with --out$"
    ):
        predict(str(run.dir), ["a.png"], out="file")


def test_a_classifier_becomes_a_backbone() -> None:
    first = train("model=resnet18", "model.width=8", "data.limit=64", "data.batch_size=32", "trainer=debug",
                  "augment=none", "model.stem=imagenet", "data=digits")  # fmt: skip
    with pytest.raises(BaseException, match="weights belong to another model than the backbone: stem"):
        train(*TINY, *SMALL_BACKBONE, "trainer=debug", f"init_from={first.dir}")  # digits are grey
    for number in range(40):
        folder = Path("photos") / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    second = train("model=resnet18", "model.width=8", "trainer=debug", "data=image_folder", "data.root=photos",
                   "data.image_size=32", "data.batch_size=8", "augment=none")  # fmt: skip
    third = train(*TINY, *SMALL_BACKBONE, "trainer=debug", "optimizer.lr=1e-30", f"init_from={second.dir}")
    theirs, ours = (trained_state(load_state(RunDir.open(run.dir).selected_checkpoint())) for run in (second, third))
    moved = [
        key for key in theirs if f"backbone.network.{key}" in ours and "running" not in key and theirs[key].dim() > 1
    ]
    assert len(moved) > 10
    assert all(torch.allclose(theirs[key], ours[f"backbone.network.{key}"], atol=1e-6) for key in moved)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "data=shapes model=resnet20",
            "model=resnet20 is for classes and numbers, but data=shapes has objects; choose",
        ),
        ("data=digits model=yolov3", "model=yolov3 is for objects, but data=digits has classes;"),
        ("data=wine model=ssd300", "model=ssd300 is for objects, but data=wine has classes; choose model="),
        ("data=shapes augment=crop", "augment: crop moves pixels but not boxes, and data=shapes has objects; choose"),
        ("data=shapes augment.cutmix=1", "augment.cutmix is for images of one class"),
        ("data=shapes augment.test=flip", "augment.test=flip is for images of one class"),
        ("data=shapes loss=mse", "loss=mse is for classes and numbers, but data=shapes has objects; choose loss=bce"),
        ("data=shapes data.imbalance=2", "data.imbalance is for classes, but this data has objects in its images"),
        (
            "data=shapes data.image_size=64 trainer.monitor=map_large_coco",
            "map_coco or map50_coco or map75_coco or map_s",
        ),
        ("data=digits augment.mosaic=1", "augment.mosaic is for images with objects"),
        ("data=digits loss=ciou", "loss=ciou is for boxes, but data=digits has classes"),
        ("data=digits box_loss=ciou", "model=resnet20 does not support box_loss=ciou"),
        ("data=digits nms=diou_nms", "model=resnet20 does not support nms=diou_nms"),
        ("data=digits backbone=resnet18", "model=resnet20 does not support backbone=resnet18"),
        ("data=shapes box_loss=cross_entropy", "unknown box_loss 'cross_entropy'"),
        ("data=shapes backbone=yolov3", "unknown backbone 'yolov3'"),
        ("data=shapes model=yolov3 pool=avg", "does not support pool=avg"),
        ("data=shapes data.image_size=64 model.levels=[7]", "a cell of level 7 is 128 px wide, but the image 64"),
        ("data=shapes augment.multi_scale=[1]", "augment.multi_scale must be a list, each an integer from 32 to 4,096"),
        ("data=shapes augment=several", "augment.steps: crop moves pixels but not boxes"),
        ("data=shapes loss=cross_entropy loss.class_weights=[1,2]", "[1.0, 2.0] does not work for 8 classes"),
        ("data=shapes nms.detections=100000000000", "nms.detections must be an integer"),
        ("data=box_pairs model.pairs=10", "model.pairs=10 is less than the 34300 pairs"),
    ],
)
def test_what_does_not_fit_is_one_line(line: str, says: str, capsys: pytest.CaptureFixture) -> None:
    few = ["data.train=24", "data.test=8", "data.batch_size=8"] if "data=shapes" in line else []
    assert main(["train", "run_dir=run", *few, *line.split()]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1 and says in said, said


def test_a_detector_is_shown_with_the_backbone_that_was_asked_for(capsys: pytest.CaptureFixture) -> None:
    costs = []
    for words in ([], ["backbone=resnet18", "backbone.width=16"]):
        assert main(["show", "model", "yolov3", "--json", *words]) == 0
        costs.append(json.loads(capsys.readouterr().out))
    assert (costs[0]["image_size"], costs[0]["num_classes"]) == (416, 20)
    assert costs[1]["params"] < costs[0]["params"] / 10
    assert main(["show", "box_loss", "ciou"]) == 0
    assert main(["show", "model", "yolo_tiny"]) == 0
    assert "Raises" not in capsys.readouterr().out


def test_pictures_that_are_left_out_are_one_line(capfd: pytest.CaptureFixture, tmp_path: Path) -> None:
    for number in range(6):
        draw_pictures(tmp_path / "mine" / "images" / str(number), 1, (40, 30))
        labels = tmp_path / "mine" / "labels" / str(number)
        labels.mkdir(parents=True)
        (labels / "000.txt").write_text("0 0.5 0.5 0.4 0.4" if number else "0 70 50 40 40")
    tiny = [word for word in TINY[3:] if not word.startswith(("data.batch_size", "trainer=cpu"))]
    words = ["data=yolo_txt", f"data.root={tmp_path / 'mine'}", *tiny, "model=yolo_tiny", "data.batch_size=2"]
    assert main(["train", *words, "trainer=debug"]) == 2
    said = capfd.readouterr().err
    assert "0/000.txt, line 1: the box lies outside its image of 40x30 pixels; coordinates must be relative" in said
    with pytest.warns(UserWarning, match="1 bad image") as caught:
        assert main(["train", *words, "trainer=debug", "data.on_bad=skip", "data.val_fraction=0.3"]) == 0
    one = caught[0]
    assert warnings.formatwarning(one.message, one.category, one.filename, one.lineno) == f"dlzoo: {one.message}\n"
    assert f"{__file__}:7:" in warnings.formatwarning("theirs", UserWarning, __file__, 7)


def test_anchors_are_a_line_to_paste(capsys: pytest.CaptureFixture) -> None:
    words = ["data=shapes", "data.train=50", "data.test=1", "count=6"]
    assert main(["anchors", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["anchors"]) == 6 and 0.5 < found["mean_iou"] <= 1
    assert main(["anchors", *words]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "model.anchors=" in line)
    anchors = line.split("'")[1].removeprefix("model.anchors=[").rstrip("]").split(",")
    assert list(map(float, anchors)) == [side for anchor in found["anchors"] for side in anchor]
    typed = shlex.split(line)[2:]
    assert compose(typed[1:])["optimizer"]["lr"] == 0.01  # the default, 0.1, is too high for yolov3
    assert typed[:2] == ["train.py", "data=shapes"] and "count=6" not in typed
    assert len(compose(typed[1:])["model"]["anchors"]) == 12
    for wrong in (["data=digits"], ["count=0"], ["model=yolov3"]):
        assert main(["anchors", *wrong]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 3


def test_a_loss_of_matches_counts_what_has_weight_and_nothing_else() -> None:
    from dlzoo.boxes.objects import MatchedTargets
    from dlzoo.tasks.detection.losses import DetectionLoss

    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 2, 2], [5, 5, 5, 5]])
    targets = torch.tensor([[0.0, 0, 4, 2], [0, 0, 2, 2], [0, 0, 0, 0]])
    stage = MatchedTargets(
        *(boxes, targets, boxes, targets, torch.tensor([2.0, 1.0, 0.0])),
        torch.tensor(2.0),
        *(torch.randn(3, 4), torch.tensor([0, 4, 2]), torch.tensor([1.0, 1.0, 0.0])),
        *(torch.zeros(5), torch.zeros(5), torch.tensor([1.0, 1, 0, 0, 0])),
    )
    terms = DetectionLoss(build_loss("iou"), build_loss("bce"), on_offsets=False, weight=3.0)([stage, stage])
    assert terms.box.item() == pytest.approx(2 * 3 * 2 * 0.5 / 2)
    hot = torch.zeros(3, 4)
    hot[0, 0] = 1  # the second is background
    expected = torch.nn.functional.binary_cross_entropy_with_logits(stage.scores, hot, reduction="none").sum(1)
    assert terms.classes.item() == pytest.approx(2 * (expected[0] + expected[1]).item() / 2, rel=1e-5)
    assert terms.objectness.item() == pytest.approx(2 * 2 * np.log(2) / 2)
    distance = DetectionLoss(build_loss("mse"), build_loss("cross_entropy"), on_offsets=True)
    stage = stage._replace(scores=torch.randn(3, 5))
    assert distance([stage]).box.item() == pytest.approx(2 * 4 / 2)


def test_a_network_that_is_lost_says_so(capsys: pytest.CaptureFixture) -> None:
    tiny = [word for word in TINY if word != "optimizer=adam"]
    small = [*tiny, "model=faster_rcnn", *SMALL_BACKBONE, *SMALL_PARTS["faster_rcnn"]]
    assert main(["train", *small, "optimizer.lr=1e12", "trainer.clip_norm=null", "run_dir=lost"]) == 2
    assert "not finite" in capsys.readouterr().err
