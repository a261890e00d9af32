"""Augmentations: what holds for all of them, and each against torchvision, scipy or slices of one image."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as V

from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw, Streams
from dlzoo.data.transforms.augment import Augment, output_size, transform_for_test
from dlzoo.data.transforms.geometry import crop_sizes, resize_window
from tests.images import draw, noise, smooth

NAMES = AUGMENTS.names()


# Properties of all


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 8, 8), (3, 8, 8), (1, 32, 32), (3, 32, 32), (3, 33, 33), (3, 12, 21)]
)
def test_a_sample_depends_on_its_image_and_its_numbers_only(name: str, channels: int, height: int, width: int) -> None:
    images, augment = noise(40, channels, height, width), build("augment", name)
    images[0], images[1] = 0, 255
    before, whole = images.clone(), augment(images, draw(40))
    assert torch.equal(images, before)
    assert whole.dtype == torch.uint8
    assert whole.shape == (40, channels, output_size(augment, height), output_size(augment, width))
    assert whole.is_contiguous(memory_format=torch.channels_last)
    for size in (1, 7, 16):
        parts = [augment(part, draw(len(part), first=i * size)) for i, part in enumerate(images.split(size))]
        assert torch.equal(torch.cat(parts), whole), size
    assert torch.equal(augment(images.contiguous(), draw(40)), whole)
    if name != "none":
        assert not torch.equal(augment(images, draw(40, seed=1)), whole)
        same = augment(images[2:3].expand(40, -1, -1, -1), draw(40))
        assert len({image.numpy().tobytes() for image in same}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_no_augmentation_looks_at_values_on_the_host(name: str) -> None:
    """On the meta device there are none: what made the host wait for a GPU fails here."""
    samples = torch.arange(4, device="meta")
    out = build("augment", name)(noise(4).to("meta"), Draw(0, samples))
    assert out.is_meta


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_sees_the_size_that_training_sees(name: str) -> None:
    for size in (1, 8, 33, 256):
        images, augment = noise(2, 3, size, size), build("augment", name)
        seen = transform_for_test(augment, images)
        assert seen.shape == augment(images, draw(2)).shape
        if output_size(augment, size) == size:
            assert torch.equal(seen, images)


# Random numbers


def test_numbers_of_many_places_are_uniform_independent_and_keyed_by_sample() -> None:
    values = draw(1000).uniform("x", 10, 10)
    assert values.shape == (1000, 10, 10)
    assert torch.equal(values[300:], draw(700, first=300).uniform("x", 10, 10))
    assert stats.kstest(values.flatten(), "uniform").pvalue > 0.01
    flat = values.view(1000, 100).numpy()
    assert np.abs(np.corrcoef(flat, rowvar=False) - np.eye(100)).max() < 0.15
    assert np.abs(np.corrcoef(flat[:100]) - np.eye(100)).max() < 0.45
    normal = draw(1000).normal("x", 100)
    assert stats.kstest(normal.flatten(), "norm").pvalue > 0.01
    assert torch.equal(normal[300:], draw(700, first=300).normal("x", 100))


def test_parts_of_a_draw_have_numbers_of_their_own() -> None:
    values = torch.stack([draw(2000).part(name).uniform("x") for name in (0, 1, "0 1")] + [draw(2000).uniform("x")])
    assert np.abs(np.corrcoef(values)[np.triu_indices(4, 1)]).max() < 0.1


# Windows and mirrors


def test_flip_mirrors_half_of_the_images() -> None:
    images = noise(4000, 1, 2, 2)
    out = build("augment", "flip")(images, draw(4000))
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert ((out == images).flatten(1).all(1) | mirrored).all()
    assert 0.47 < mirrored.float().mean() < 0.53


@pytest.mark.parametrize(
    ("plain", "mirroring"),
    [
        (build("augment", "crop"), build("augment", "flip_crop")),
        *(
            (build("augment", name, flip=False), build("augment", name, flip=True))
            for name in ("resized_crop", "randaugment", "trivialaugment")
        ),
    ],
    ids=["crop", "resized_crop", "randaugment", "trivialaugment"],
)
def test_a_mirror_is_taken_of_half_of_the_images_and_changes_nothing_else(plain: Augment, mirroring: Augment) -> None:
    images, numbers = smooth(1000, 1, 12, 12), draw(1000)
    one, other = plain(images, numbers), mirroring(images, numbers)
    same, mirrored = ((one == view).flatten(1).all(1) for view in (other, other.flip(3)))
    assert (same | mirrored).all()
    assert 0.45 < mirrored[~(same & mirrored)].float().mean() < 0.55  # what is flat or symmetric is both


def where_the_window_is(name: str, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and mirror of the middle pixel of 4,000 windows of an image whose pixels say where they are."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.stack([rows, columns, columns], 0).to(torch.uint8)
    augment = build("augment", name)
    out = augment(image.expand(4000, -1, -1, -1), draw(4000)).int()
    middle = out.shape[2] // 2
    mirrored = out[:, 1, middle, middle] > out[:, 1, middle, middle + 1]
    column = torch.where(mirrored, out[:, 1, middle, -1 - middle], out[:, 1, middle, middle])
    return out[:, 0, middle, middle] - middle, column - middle, mirrored


@pytest.mark.parametrize(("name", "offsets"), [("crop", 9), ("flip_crop", 9), ("alexnet", 5)])
def test_windows_are_everywhere_equally_often(name: str, offsets: int) -> None:
    rows, columns, mirrored = where_the_window_is(name, 32)
    for places in (rows, columns):
        counts = (places - places.min()).bincount()
        assert len(counts) == offsets
        assert stats.chisquare(counts).pvalue > 0.01
    together = stats.contingency.crosstab(rows.numpy(), columns.numpy(), mirrored.numpy()).count
    assert stats.chisquare(together[together.sum((1, 2)) > 0].flatten()).pvalue > 0.001
    assert (0.47 < mirrored.float().mean() < 0.53) if name != "crop" else not mirrored.any()


def test_the_window_of_alexnet_is_a_part_of_the_image_and_in_test_its_middle() -> None:
    images, augment = noise(64, 3, 32, 40), build("augment", "alexnet")
    numbers = draw(64)
    rows, columns, flips = numbers.integers("row", 5), numbers.integers("column", 6), numbers.uniform("flip") < 0.5
    for image, out, row, column, flip in zip(images, augment(images, numbers), rows, columns, flips, strict=True):
        window = image[:, row : row + 28, column : column + 35]
        assert torch.equal(out, window.flip(2) if flip else window)
    assert output_size(augment, 256) == 224
    assert torch.equal(transform_for_test(augment, images), images[:, :, 2:30, 2:37])


def test_windows_are_enlarged_as_by_torchvision() -> None:
    for images in (noise(64, 3, 24, 32), smooth(64, 1, 24, 32)):
        rows, columns = crop_sizes(draw(64), 24, 32, 0.08)
        top = (draw(64).uniform("top") * (25 - rows)).floor()
        left = (draw(64).uniform("left") * (33 - columns)).floor()
        mirror = draw(64).uniform("flip") < 0.5
        out = resize_window(images, top, left, rows, columns, mirror)
        for index in range(64):
            box = [int(edge[index]) for edge in (top, left, rows, columns)]
            window = V.resized_crop(images[index].contiguous(), *box, size=[24, 32])
            window = window.flip(2) if mirror[index] else window
            assert (out[index].int() - window.int()).abs().max() <= 1, index
    whole = build("augment", "resized_crop", smallest_area=1.0, flip=False)
    square = noise(16)
    kept = (whole(square, draw(16)) == square).flatten(1).all(1)
    assert kept.any()  # where one of the ten ratios was near enough to 1, or none fitted


def test_the_boxes_of_resized_crop_are_spread_as_torchvision_s() -> None:
    count, image = 3000, torch.zeros(3, 60, 40)
    rows, columns = crop_sizes(draw(count), 60, 40, 0.08)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])[2:] for _ in range(count)]
    their_rows, their_columns = np.array(theirs).T
    assert stats.ks_2samp(rows, their_rows).pvalue > 0.01
    assert stats.ks_2samp(columns, their_columns).pvalue > 0.01
    assert stats.ks_2samp(rows * columns, their_rows * their_columns).pvalue > 0.01
    assert columns.max() <= 40
    assert (rows * columns).min() >= 0.07 * 60 * 40


def test_a_window_that_never_fits_is_the_largest_of_the_middle() -> None:
    rows, columns = crop_sizes(draw(50), 4, 100, 1.0)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(4.0, 5.0)}


# Filters


def expected_filter(name: str, settings: dict, plane: np.ndarray) -> np.ndarray:
    plane = plane.astype(np.float64)
    if name == "median":
        return ndimage.median_filter(plane, settings["size"], mode="nearest")
    if name == "mean":
        return ndimage.uniform_filter(plane, settings["size"], mode="nearest")
    if name == "gaussian":
        return ndimage.gaussian_filter(plane, settings["sigma"], mode="nearest")
    return np.hypot(*(ndimage.sobel(plane, axis, mode="nearest") for axis in (0, 1))) / math.sqrt(32)


FILTERS = [
    *(("median", {"size": size}) for size in (3, 5, 7)),
    *(("mean", {"size": size}) for size in (3, 5, 7)),
    *(("gaussian", {"sigma": sigma}) for sigma in (0.3, 1.0, 2.5)),
    ("sobel", {}),
]


@pytest.mark.parametrize(("name", "settings"), FILTERS)
def test_a_filter_is_scipy_s(name: str, settings: dict) -> None:
    images = torch.cat([noise(10, 3, 14, 17), smooth(10, 3, 14, 17)])
    images[0], images[1] = 0, 255
    out = build("augment", name, p=1.0, **settings)(images, draw(20))
    for image, made in zip(images.numpy(), out.numpy(), strict=True):
        for plane, filtered in zip(image, made, strict=True):
            assert np.abs(filtered - expected_filter(name, settings, plane)).max() < 0.501
    if name != "sobel":
        assert torch.equal(out[:2], images[:2])


@pytest.mark.parametrize("name", ["median", "mean", "gaussian", "sobel"])
def test_a_share_of_the_images_is_filtered(name: str) -> None:
    images = noise(2000, 1, 6, 6)
    changed = (build("augment", name, p=0.3)(images, draw(2000)) != images).flatten(1).any(1)
    assert 0.26 < changed.float().mean() < 0.34
    assert torch.equal(build("augment", name, p=0.0)(images, draw(2000)), images)


# Several


def test_several_are_one_after_the_other_with_numbers_of_their_own() -> None:
    images, numbers = noise(64), draw(64)
    out = build("augment", "several", steps=("alexnet", "median", "alexnet"))
    expected = images
    for number, name in enumerate(("alexnet", "median", "alexnet")):
        expected = build("augment", name)(expected, numbers.part(number))
    assert torch.equal(out(images, numbers), expected)
    assert expected.shape[2:] == (24, 24)
    assert torch.equal(transform_for_test(out, images), images[:, :, 4:28, 4:28])


@pytest.mark.parametrize(("steps", "words"), [(("crop", "flop"), "'flop'; did you mean 'flip'"), (("several",), "")])
def test_a_step_that_is_none_is_refused(steps: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=rf"augment\.steps: .*{words}"):
        build("augment", "several", steps=steps)


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_the_host_does_not_wait_and_images_are_the_same(name: str) -> None:
    images, augment = smooth(64), build("augment", name)
    there, samples = images.cuda(), torch.arange(64, device="cuda")
    augment(there, Streams(0).draw(samples, "augment", 0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = augment(there, Streams(0).draw(samples, "augment", 0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    off = (out.cpu().int() - augment(images, draw(64)).int()).abs()
    assert (off > 1).float().mean() < 0.01
