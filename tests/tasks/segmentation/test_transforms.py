"""Training transforms of images with masks: mosaic, cutout, sides drawn for a step, and a run with each."""

import pytest
import torch
from torch import Tensor

from dlzoo.builder.model import build
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.data.transforms.augment import MaskAugment
from dlzoo.data.transforms.batch import Normalise
from dlzoo.tasks.segmentation.transforms import MaskTransform, resize
from tests.images import draw, noise
from tests.small import TINY, train

ON_MASKS = [name for name in AUGMENTS.names() if "masks" in AUGMENTS[name].marks.moves]
MOVING = [name for name in ON_MASKS if isinstance(build("augment", name), MaskAugment) and name != "several"]
SIDE = 48
MIXTURES = [
    {"mosaic": 1.0},
    {"mosaic": 0.5, "cutout": 9},
    {"crop": 32, "multi_scale": (40, 64)},
    {"crop": 40, "mosaic": 0.7, "cutout": 9, "multi_scale": (32, 48, 96)},
]


def transform(augment: str = "none", **settings) -> MaskTransform:
    return MaskTransform(build("augment", augment), Normalise(torch.zeros(3), torch.full((3,), 1 / 255)), **settings)


def plain(count: int, height: int = SIDE, width: int = SIDE) -> tuple[Tensor, Tensor]:
    """Images of one level each, ten times that of the mask's class, which is the number of the image."""
    masks = torch.arange(count, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
    images = (10 * masks)[:, None].repeat(1, 3, 1, 1).contiguous(memory_format=torch.channels_last)
    return images, masks


@pytest.mark.parametrize("settings", MIXTURES)
def test_a_mixture_is_a_function_of_its_numbers(settings: dict) -> None:
    images, (_, masks) = noise(12, 3, SIDE, SIDE), plain(12)
    before = images.clone(), masks.clone()
    out = transform("flip", **settings)(images, masks, draw(12), 3)
    assert torch.equal(images, before[0]) and torch.equal(masks, before[1])
    again = transform("flip", **settings)(images, masks, draw(12), 3)
    assert torch.equal(out[0], again[0]) and torch.equal(out[1], again[1])
    assert out[1].dtype == torch.uint8
    assert out[0].shape == (12, 3, *out[1].shape[1:])
    other = transform("flip", **settings)(images, masks, draw(12, seed=1), 3)
    assert out[0].shape != other[0].shape or not torch.equal(out[0], other[0])
    numbers = Draw(0, torch.arange(12, device="meta"))
    normalise = Normalise(torch.zeros(3), torch.ones(3)).to("meta")
    on_meta = MaskTransform(build("augment", "flip"), normalise, **settings)  # nothing is looked at on the host
    assert all(each.is_meta for each in on_meta(images.to("meta"), masks.to("meta"), numbers, 3))


def test_the_quarters_of_a_mosaic_have_the_masks_of_their_images() -> None:
    images, masks = plain(20, 40, 56)
    out, found = transform(mosaic=1.0)(images, masks, draw(20), 0)
    assert torch.equal(out.round(), (10 * found.float())[:, None].expand_as(out))
    for number, mask in enumerate(found):
        assert mask[0, 0] == number
        assert len(mask.unique()) == 4
        assert len({int(mask[row, column]) for row in (0, -1) for column in (0, -1)}) == 4
    seams = (found[:, 0, 1:] != found[:, 0, :-1]).int().argmax(1) + 1
    assert seams.min() >= 14 and seams.max() <= 42 and len(seams.unique()) > 8


def test_details_are_where_the_mask_says_in_a_mosaic() -> None:
    """Each image shows its mask: white for class 1."""
    masks = (torch.rand(16, 1, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.uint8)
    masks = masks.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0]
    images = (255 * masks)[:, None].repeat(1, 3, 1, 1).contiguous(memory_format=torch.channels_last)
    out, found = transform(mosaic=1.0)(images, masks, draw(16), 0)
    level = out[:, 0].round()
    assert (found[level == 255] == 1).all() and (found[level == 0] == 0).all()
    assert ((level == 0) | (level == 255)).float().mean() > 0.6
    assert not (found == 255).any()
    assert not torch.equal(found, masks)


def test_a_share_of_the_images_is_a_mosaic() -> None:
    images, masks = noise(400, 3, 8, 8), torch.zeros(400, 8, 8, dtype=torch.uint8)
    out, _ = transform(mosaic=0.3)(images, masks, draw(400), 0)
    same = (out.round() == images).flatten(1).all(1)
    assert 0.63 < same.float().mean() < 0.77


def test_a_hole_is_grey_and_ignored() -> None:
    images, masks = noise(50, 3, SIDE, SIDE), torch.zeros(50, SIDE, SIDE, dtype=torch.uint8)
    out, found = transform(cutout=11)(images, masks, draw(50), 0)
    hole = found == 255
    assert (out.permute(0, 2, 3, 1)[hole] == 128).all()
    assert torch.equal(out.round().permute(0, 2, 3, 1)[~hole], images.permute(0, 2, 3, 1)[~hole].float())
    assert 60 < hole.sum((1, 2)).float().mean() <= 121


def test_all_images_of_a_step_have_a_side_that_follows_the_step() -> None:
    images, masks = plain(4, 32, 24)
    resized = transform(multi_scale=(32, 40, 64))
    sizes = [tuple(resized(images, masks, draw(4), step)[0].shape[2:]) for step in range(60)]
    assert sizes == [tuple(resized(images[:2], masks[:2], draw(2, first=9), step)[1].shape[1:]) for step in range(60)]
    assert set(sizes) == {(32, 24), (40, 30), (64, 48)}
    assert all(10 <= sizes.count(size) <= 30 for size in set(sizes))


@pytest.mark.parametrize("side", [16, 40, 64, 96])
def test_resized_masks_show_what_resized_images_show(side: int) -> None:
    masks = (torch.rand(8, 1, 4, 6, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.uint8)
    masks = masks.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, 0]
    images = (255 * masks)[:, None].repeat(1, 3, 1, 1).contiguous(memory_format=torch.channels_last)
    out, found = resize(images, masks, side)
    assert found.shape == (8, round(64 * side / 96), side) and out.shape == (8, 3, *found.shape[1:])
    assert out.is_contiguous(memory_format=torch.channels_last)
    level = out[:, 0]
    assert (found[level == 255] == 1).all() and (found[level == 0] == 0).all()
    assert ((level == 0) | (level == 255)).float().mean() > 0.2
    if side == 96:
        assert torch.equal(out, images) and torch.equal(found, masks)


SMALL = [*TINY, "model=unet_tiny", "model.width=4", "model.depth=2", "data.image_size=32", "trainer.max_epochs=1"]


@pytest.mark.parametrize("name", [*MOVING, "several"])
def test_every_augmentation_that_moves_masks_works_in_a_run(name: str) -> None:
    """Those that move no pixels are one after the other in one run."""
    steps = [each for each in ON_MASKS if each not in MOVING and each != "several"]
    words = [f"augment.steps=[{','.join(steps)}]"] if name == "several" else []
    assert 0 < train(*SMALL, f"augment={name}", *words).metrics["test/loss"] < 10


def test_mosaic_cutout_and_sides_work_in_a_run() -> None:
    words = ("augment.mosaic=0.5", "augment.cutout=8", "augment.multi_scale=[32,44]", "loss=sum", "augment=scale")
    assert 0 < train(*SMALL, *words).metrics["test/loss"] < 10
