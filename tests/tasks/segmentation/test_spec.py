"""Segmentation from the command line to its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dlzoo
from dlzoo.builder import execute as execution
from dlzoo.builder.evaluate import evaluate
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams
from dlzoo.data.mask_set import IGNORED, MaskSet, mask_split
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import none
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.geometry import RandomFlip
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.segmentation.inference import Inference
from dlzoo.tasks.segmentation.transforms import MaskTransform
from tests.processes import fork_runs
from tests.small import logged, same, train, weights

TINY = [
    *("data=shapes", "data.train=24", "data.test=9", "data.image_size=32", "data.batch_size=8", "model=unet_tiny"),
    *("model.width=4", "model.depth=2", "trainer=cpu", "trainer.max_epochs=2", "trainer.threads=1"),
]


@pytest.mark.draws
def test_a_run_trains_tests_and_goes_on_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(*TINY, "run_dir=whole")
    record = RunDir.open(whole.dir).read()
    assert (record["task"], record["kind"], record["tested"], record["in_channels"]) == ("segment", "masks", 9, 3)
    assert set(record["pictures"]) == {"curves", "predictions", "classes"}
    assert (
        record["classes"][0] == "background"
        and len(record["by_class"][index.marks("task", "segment").class_metric.name]) == 9
    )
    ends = TaskModule.on_train_epoch_end

    def stop(task: TaskModule) -> None:
        task.stop_requested = True
        ends(task)

    with monkeypatch.context() as patched:
        patched.setattr(TaskModule, "on_train_epoch_end", stop)
        with pytest.raises(BaseException, match="resume with"):
            train(*TINY, "run_dir=parts")
    parts = train("resume=parts")
    assert same(weights(whole), weights(parts)) and logged(whole.dir) == logged(parts.dir)
    tested = {key: value for key, value in whole.metrics.items() if key.startswith("test/")}
    assert evaluate(str(whole.dir)) == tested
    mirrored = evaluate(str(whole.dir), ["augment.test=flip"])
    assert mirrored.keys() == tested.keys() and mirrored != tested


def test_two_ranks_train_what_one_process_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_runs(monkeypatch)
    alone, two = (train(*TINY, f"trainer={name}", f"run_dir={name}") for name in ("cpu", "ddp_cpu"))
    assert two.metrics["test/miou"] == pytest.approx(alone.metrics["test/miou"], abs=1e-3)
    assert two.metrics["test/loss"] == pytest.approx(alone.metrics["test/loss"], rel=1e-3)
    assert RunDir.open(two.dir).read()["tested"] == 9


def test_the_model_decides_the_task_of_a_data_set_of_several_and_then_data_task() -> None:
    for words, task, model in (
        (["model=unet_tiny"], "segment", "unet_tiny"),
        (["data.task=segment"], "segment", "unet_tiny"),
        ([], "detect", "yolo_tiny"),
        (["data.task=detect", "model=yolo_tiny"], "detect", "yolo_tiny"),
    ):
        config = compose(
            ["data=shapes", "data.train=20", "data.test=2", "data.batch_size=2", "data.image_size=32", *words]
        )
        assert config["model"]["name"] == model
        assert Splits.load(config["data"], dlzoo.MODELS[model].marks.tasks).task == task
    config = compose(["data=shapes", "data.task=segment", "model=yolo_tiny"])
    with pytest.raises(UserError, match=r"data.task=segment does not fit the model, which is for detect"):
        Splits.load(config["data"], ("detect",))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["augment.mixup=0.5"], "augment.mixup=0.5 is for images of one class"),
        (["augment.cutmix=1"], "augment.cutmix=1 is for images of one class"),
        (["augment.test=ten_crop"], "augment.test=ten_crop is not for masks"),
        (["augment=randaugment"], "augment: randaugment moves pixels but not masks"),
        (["loss=mse"], "loss=mse is for"),
        (["model=resnet20"], "model=resnet20 is for"),
        (["data.imbalance=2"], "data.imbalance is for classes, but this data has masks"),
    ],
)
def test_what_does_not_fit_masks_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    replaced = "model" if words[0].startswith("model") else words[0].partition("=")[0]
    assert main(["train", *(word for word in TINY if not word.startswith(replaced)), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_predict_writes_masks_in_the_size_of_each_picture(capsys: pytest.CaptureFixture) -> None:
    run = train(*TINY, "run_dir=run")
    numbers = np.random.default_rng(0)
    for name, size in (("a.png", (50, 120, 3)), ("b.png", (31, 17, 3))):
        Image.fromarray(numbers.integers(0, 255, size, dtype=np.uint8)).save(name)
    assert main(["predict", f"run={run.dir}", "a.png", "b.png", "--out", "found", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("found/predictions.json").read_text())
    predicted = run.predict(["a.png", "b.png"])
    classes = RunDir.open(run.dir).read()["classes"]
    for answer, one, shape in zip(printed, predicted, ((50, 120), (31, 17)), strict=True):
        with Image.open(answer["mask"]) as mask, Image.open(answer["picture"]) as picture:
            assert mask.mode == "P" and mask.size == picture.size == shape[::-1]
            values = np.asarray(mask)
        assert np.array_equal(values, one.mask)
        shares = {name: float((values == number).mean()) for number, name in enumerate(classes)}
        assert answer["areas"] == {name: share for name, share in shares.items() if share}
    network = run.network()
    with pytest.raises(UserError, match=r"the images are 18x32 and 32x13 px .* preprocess them one by one"):
        network.preprocess(["a.png", "b.png"])
    assert network(network.preprocess("a.png")).shape == (1, 9, 13, 32)
    before = Path("found/predictions.json").read_bytes()
    assert main(["predict", f"run={run.dir}", "a.png", "--out", "found"]) == 2
    assert "already exists; choose another folder" in capsys.readouterr().err
    assert Path("found/predictions.json").read_bytes() == before


def several_sizes() -> MaskSet:
    """Images of several sizes on a canvas of 40 px, of three classes; the mask is a function of the pixels."""
    numbers = torch.Generator().manual_seed(0)
    images = torch.full((12, 40, 40, 4), 128, dtype=torch.uint8)
    images[..., 3] = IGNORED
    sizes = torch.randint(9, 41, (12, 2), generator=numbers)
    for image, (wide, high) in zip(images, sizes.tolist(), strict=True):
        image[:high, :wide, :3] = torch.randint(0, 256, (high, wide, 3), generator=numbers, dtype=torch.uint8)
        image[:high, :wide, 3] = image[:high, :wide, 0] // 86
    split = mask_split(images, 3, sizes)
    return MaskSet(split.take(torch.arange(8)), split.take(torch.arange(8, 12)), ("low", "middle", "high"))


def test_each_image_is_evaluated_without_the_rest_of_its_canvas() -> None:
    data = several_sizes()
    assert data.train.labels.sum(1).tolist() == data.train.sizes.prod(1).tolist()  # pyright: ignore[reportOptionalMemberAccess]
    network = dlzoo.build_model("unet_tiny", num_classes=3, width=4, depth=2, image_size=40).eval()
    module = __import__("dlzoo.tasks.segmentation.module", fromlist=["x"]).SegmentationModule
    pixels, _ = data.test.separate(data.test.images[:], data.test.labels)
    images = Normalise(*data.statistics(data.train))(pixels.permute(0, 3, 1, 2))
    fake = type("Fake", (), {"num_classes": 3, "inference": Inference(), "eval_network": network})()
    sizes = [(wide, high) for wide, high in data.test.sizes.tolist()]  # pyright: ignore[reportOptionalMemberAccess]
    with torch.no_grad():
        logits = module._logits(fake, images, sizes)
        for place, (wide, high) in enumerate(sizes):
            alone = network(images[place : place + 1, :, :high, :wide])[0]
            assert torch.equal(logits[place, :, :high, :wide], alone)
            assert not logits[place, :, high:].any() and not logits[place, :, :, wide:].any()


def test_windows_are_cut_out_of_the_known_pixels_with_their_masks() -> None:
    data = several_sizes()
    transform = MaskTransform(none(), Normalise(torch.zeros(3), torch.ones(3)), crop=9)
    pixels, masks = data.train.separate(data.train.images[:], data.train.labels)
    for epoch in range(20):
        draw = Streams(0).draw(torch.arange(len(masks)), "augment", epoch)
        images, cut = transform(pixels.permute(0, 3, 1, 2), masks, draw, 0)
        assert images.shape == (8, 3, 9, 9) and cut.shape == (8, 9, 9) and not (cut == IGNORED).any()
        assert torch.equal((images[:, 0] * 255).round() // 86, cut.float())


def test_windows_of_flipped_images_are_cut_out_of_the_known_pixels_too() -> None:
    """A small image is at the right of its canvas then."""
    data = several_sizes()
    transform = MaskTransform(RandomFlip(), Normalise(torch.zeros(3), torch.ones(3)), crop=9)
    pixels, masks = data.train.separate(data.train.images[:], data.train.labels)
    for epoch in range(20):
        draw = Streams(0).draw(torch.arange(len(masks)), "augment", epoch)
        _, cut = transform(pixels.permute(0, 3, 1, 2), masks, draw, 0)
        assert not (cut == IGNORED).any()


def test_few_large_images_are_evaluated_at_a_time() -> None:
    images = torch.zeros(2, 1200, 1200, 4, dtype=torch.uint8)
    data = MaskSet(mask_split(images, 2), mask_split(images, 2), ("a", "b"), crop=64)
    splits = Splits(data.train, None, data.test, data, 2)
    assert splits.image_size == 64 and splits.eval_batch(8) == 1
    small = MaskSet(mask_split(images[:, :64, :64], 2), mask_split(images[:, :64, :64], 2), ("a", "b"))
    assert Splits(small.train, None, small.test, small, 2).eval_batch(8) == 488


def test_a_value_that_is_no_class_is_one_line() -> None:
    images = torch.full((1, 4, 4, 4), 7, dtype=torch.uint8)
    with pytest.raises(UserError, match="a mask has the value 7, but there are 3 classes"):
        mask_split(images, 3)


def test_the_mirror_image_is_mirrored_back() -> None:
    network = dlzoo.build_model("unet_tiny", num_classes=3, width=4, depth=2, image_size=40).eval()
    images = torch.randn(2, 3, 24, 20)
    with torch.no_grad():
        both = Inference(flip=True).logits(network, images)
        assert torch.allclose(both, Inference(flip=True).logits(network, images.flip(3)).flip(3), atol=1e-5)
        expected = (network(images) + network(images.flip(3)).flip(3)) / 2
    assert torch.equal(both, expected)


def test_a_network_of_valid_convolutions_labels_every_pixel() -> None:
    words = [word for word in TINY if not word.startswith("model")]
    run = train(*words, "model=unet", "model.width=4", "model.depth=2", "model.padding=valid", "norm=bn",
                "trainer.max_epochs=1")  # fmt: skip
    assert 0 <= run.metrics["test/miou"] <= 1
    record = execution.RunDir.open(run.dir).read()
    assert record["tested"] == 9
