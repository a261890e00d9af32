"""Splits, feeds, augmentation, and published sets."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, FashionMNIST

from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams
from dlzoo.data.loader import EvalLoader, TrainLoader
from dlzoo.data.settings import DataSettings, balanced_order, cut
from dlzoo.data.split import Split, channel_statistics, fingerprint
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.batch import ImageTransform, Normalise


def section(**settings: object) -> dict:
    return (
        {"name": "image_folder", "image_size": None, "root": None} | vars(DataSettings()) | {"batch_size": 4} | settings
    )


# Splits


def test_digits() -> None:
    splits = Splits.load({"name": "digits"} | vars(DataSettings()))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [1295, 143, 359]
    assert splits.train.images.shape == (1295, 8, 8, 1)
    assert splits.train.images.dtype == torch.uint8
    assert splits.test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert splits.fingerprint == Splits.load({"name": "digits"} | vars(DataSettings())).fingerprint


def test_a_cut_takes_its_share_of_each_class_and_every_sample_once() -> None:
    labels = torch.tensor([0] * 50 + [1] * 20 + [2] * 10)
    split = Split(torch.arange(80, dtype=torch.uint8).view(80, 1, 1, 1), labels)
    rest, part = cut(split, 0.1, seed=0, by_class=True)
    assert part.labels.bincount().tolist() == [5, 2, 1]
    both = torch.cat([rest.images, part.images]).flatten().tolist()
    assert sorted(both) == list(range(80))
    assert torch.equal(cut(split, 0.1, seed=0, by_class=True)[1].images, part.images)
    assert not torch.equal(cut(split, 0.1, seed=1, by_class=True)[1].images, part.images)


def test_a_limit_is_balanced_and_a_smaller_one_is_part_of_a_larger() -> None:
    labels = torch.tensor([0] * 50 + [1] * 20 + [2] * 10)
    order = balanced_order(labels, seed=0, by_class=True)
    assert sorted(order.tolist()) == list(range(80))
    assert labels[order[:30]].bincount().tolist() == [10, 10, 10]
    assert labels[order[:45]].bincount().tolist() == [18, 17, 10]


def test_limit_reaches_every_split() -> None:
    splits = Splits.load({"name": "digits"} | vars(DataSettings(limit=100)))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [100, 100, 100]
    assert splits.train.labels.bincount().tolist() == [10] * 10


def test_batch_sizes() -> None:
    assert Splits.load({"name": "digits"} | vars(DataSettings(batch_size="full"))).batch_size == 1295
    with pytest.raises(UserError, match="1296 is larger than the 1295 training samples"):
        Splits.load({"name": "digits"} | vars(DataSettings(batch_size=1296)))


def test_channel_statistics_equal_numpy() -> None:
    images = torch.randint(0, 256, (50, 7, 5, 3), dtype=torch.uint8)
    images[..., 2] = 9
    mean, deviation = channel_statistics(images)
    floats = images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, floats.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(deviation[:2], floats.std((0, 1, 2))[:2], rtol=1e-6)
    assert deviation[2] == 1


def test_a_fingerprint_sees_a_pixel_and_a_label() -> None:
    split = Split(torch.zeros(4, 2, 2, 1, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    pixel, label = Split(split.images.clone(), split.labels), Split(split.images, split.labels.clone())
    pixel.images[3, 1, 1, 0] = 1
    label.labels[2] = 1
    assert len({fingerprint(split), fingerprint(pixel), fingerprint(label)}) == 3


# Feeds


def feed(batch_size: int = 8, accumulate: int = 1, augment: str = "flip_crop", count: int = 30) -> TrainLoader:
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 8, 8, 3), dtype=torch.uint8, generator=numbers)
    split = Split(images, torch.arange(count))
    normalise = Normalise(torch.zeros(3), torch.ones(3))
    return TrainLoader(split, ImageTransform(build("augment", augment), normalise), Streams(0), batch_size, accumulate)


def test_an_epoch_has_every_sample_once_and_drops_the_short_batch() -> None:
    train = feed()
    assert train.steps_per_epoch == 3
    epochs = [[b.labels for step in range(3 * e, 3 * e + 3) for b in train.batches(step)] for e in range(2)]
    for labels in epochs:
        assert len(torch.cat(labels).unique()) == 24
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


def test_a_batch_is_a_function_of_its_step_and_a_sample_of_nothing_else() -> None:
    (late,) = feed().batches(4)
    train = feed()
    for step in range(5):
        (batch,) = train.batches(step)
    assert torch.equal(late.images, batch.images)
    parts = list(feed(accumulate=4).batches(4))
    assert len(parts) == 4
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)


def test_flip_crop_is_pad_crop_and_mirror() -> None:
    """Against one image at a time, by slices."""
    images = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)
    draw = Streams(0).draw(torch.arange(64), "augment", 0)
    out = build("augment", "flip_crop")(images, draw)
    rows, columns, flips = draw.integers("row", 5), draw.integers("column", 5), draw.uniform("flip") < 0.5
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for index in range(64):
        window = padded[index, :, rows[index] : rows[index] + 16, columns[index] : columns[index] + 16]
        if flips[index]:
            window = padded[index].flip(2)[:, :, 4 - columns[index] : 20 - columns[index]]
            window = window[:, rows[index] : rows[index] + 16]
        assert torch.equal(out[index], window), index
    assert {bool(flip) for flip in flips} == {True, False}


def test_crop_never_mirrors_and_none_changes_nothing() -> None:
    ramp = torch.arange(1, 17, dtype=torch.uint8).expand(32, 1, 16, 16)
    draw = Streams(0).draw(torch.arange(32), "augment", 0)
    shifted = build("augment", "crop")(ramp, draw)[:, 0, 8, 4:12].int()
    assert (shifted.diff(dim=1) == 1).all()
    assert torch.equal(build("augment", "none")(ramp, draw), ramp)


def test_normalised_images_have_mean_zero_and_deviation_one() -> None:
    images = torch.randint(0, 256, (200, 8, 8, 3), dtype=torch.uint8)
    out = Normalise(*channel_statistics(images))(images.permute(0, 3, 1, 2))
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_sees_every_sample_once_in_order() -> None:
    split = Split(torch.zeros(10, 2, 2, 1, dtype=torch.uint8), torch.arange(10))
    evaluation = EvalLoader(split, Normalise(torch.zeros(1), torch.ones(1)), 4)
    assert len(evaluation) == 3
    assert torch.cat([evaluation.batch(i).labels for i in range(3)]).tolist() == list(range(10))


# Published sets, against small files in their formats


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = root / CIFAR10.base_folder
    base.mkdir(parents=True)
    numbers = np.random.default_rng(0)

    def store(name: str, content: dict) -> list[str]:
        (base / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((base / name).read_bytes()).hexdigest()]

    def batch(count: int) -> dict:
        return {
            "data": numbers.integers(0, 256, (count, 3072), dtype=np.uint8),
            "labels": list(range(10)) * (count // 10),
        }

    monkeypatch.setattr(CIFAR10, "train_list", [store(f"data_batch_{i}", batch(20)) for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [store("test_batch", batch(10))])
    name, md5 = store("batches.meta", {"label_names": [f"class{i}" for i in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})


def test_cifar10_in_its_own_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    images = build("data", "cifar10", root=str(tmp_path))
    assert images.train.images.shape == (100, 32, 32, 3)
    assert images.test.labels.tolist() == list(range(10))
    assert images.classes[3] == "class3"
    stored = pickle.loads((tmp_path / CIFAR10.base_folder / "test_batch").read_bytes())["data"][0]
    assert np.array_equal(images.test.images[0].numpy(), stored.reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize("how", ["missing", "flipped byte"])
def test_a_missing_or_corrupt_download_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "flipped byte":
        write_cifar(tmp_path, monkeypatch)
        victim = tmp_path / CIFAR10.base_folder / "data_batch_3"
        content = bytearray(victim.read_bytes())
        content[500] ^= 1
        victim.write_bytes(content)
    with pytest.raises(UserError, match=r"data=cifar10: not found in .*data\.download=true"):
        build("data", "cifar10", root=str(tmp_path))


def test_fashion_mnist_in_its_own_format(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 10)):
        pixels = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8)
        header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 10
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1]) + count.to_bytes(4, "big") + labels.tobytes()
        )
    images = build("data", "fashion_mnist", root=str(tmp_path))
    assert images.train.images.shape == (30, 28, 28, 1)
    assert images.test.images[0, 0, :3, 0].tolist() == [0, 1, 2]
    assert images.classes == tuple(FashionMNIST.classes)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(UserError, match="data=fashion_mnist: not found in"):
        build("data", "fashion_mnist", root=str(tmp_path))
