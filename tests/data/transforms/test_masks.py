"""Augmentations of images with masks: what holds for all of them, and the geometric ones against torchvision."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as V

from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.data.transforms.augment import MaskAugment, augment_with_masks
from dlzoo.data.transforms.geometry import crop_sizes
from tests.images import draw, noise, smooth

ON_MASKS = [name for name in AUGMENTS.names() if "masks" in AUGMENTS[name].marks.moves]
MOVING = [name for name in ON_MASKS if isinstance(build("augment", name), MaskAugment)]
#: Those that copy pixels instead of interpolating them.
COPYING = [name for name in MOVING if name in ("crop", "flip", "flip_crop", "several")]
VARIANTS = [
    *((name, {}) for name in ON_MASKS),
    ("crop", {"padding": 9}),
    ("flip_crop", {"padding": 0}),
    ("resized_crop", {"smallest_area": 0.5, "flip": False}),
    ("scale", {"smallest": 0.2, "largest": 0.6}),
    ("scale", {"smallest": 1.5, "largest": 4.0}),
    ("rotate", {"degrees": 180.0}),
    ("several", {"steps": ("rotate", "flip", "colour_jitter", "scale", "crop")}),
]
#: Two steps of it interpolate.
CHAIN = {"steps": ("rotate", "flip", "scale", "crop")}
SHAPES = [(33, 33), (24, 40), (1, 1)]


def blocks(count: int, height: int, width: int, side: int = 8) -> Tensor:
    """Masks (count, height, width) of squares of random classes from 0 to 2."""
    small = torch.randint(3, (count, 1, -(-height // side), -(-width // side)),
                          generator=torch.Generator().manual_seed(0)).to(torch.uint8)  # fmt: skip
    return small.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, 0, :height, :width].contiguous()


def as_images(masks: Tensor) -> Tensor:
    """Images (N, 3, H, W) with a channel for each class, 255 where the mask has it."""
    return torch.stack([255 * (masks == number) for number in range(3)], 1).to(torch.uint8)


# Properties of all


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_images_are_those_without_masks_and_a_sample_depends_on_itself_only(
    name: str, settings: dict, height: int, width: int
) -> None:
    augment, images, masks = build("augment", name, **settings), noise(20, 3, height, width), blocks(20, height, width)
    before = images.clone(), masks.clone()
    moved, found = augment_with_masks(augment, images, masks, draw(20))
    assert torch.equal(images, before[0]) and torch.equal(masks, before[1])
    assert torch.equal(moved, augment(images, draw(20)))
    assert found.dtype == torch.uint8
    assert found.shape == (20, *moved.shape[2:])
    assert set(found.unique().tolist()) <= {*masks.unique().tolist(), 255}
    for size in (1, 7):
        parts = zip(images.split(size), masks.split(size), strict=True)
        alone = [
            augment_with_masks(augment, *part, draw(len(part[0]), first=i * size))[1] for i, part in enumerate(parts)
        ]
        assert torch.equal(torch.cat(alone), found)
    stored = torch.cat((images.permute(0, 2, 3, 1), masks[..., None]), 3)[..., -1]  # not contiguous, as loaders have it
    assert torch.equal(augment_with_masks(augment, images, stored, draw(20))[1], found)


@pytest.mark.parametrize("name", [name for name in ON_MASKS if name not in MOVING])
def test_what_moves_no_pixels_leaves_masks_as_they_are(name: str) -> None:
    masks = blocks(8, 48, 64)
    assert augment_with_masks(build("augment", name), noise(8, 3, 48, 64), masks, draw(8))[1] is masks


@pytest.mark.parametrize(("name", "settings"), [each for each in VARIANTS if each[0] in MOVING])
def test_an_image_of_the_mask_moves_as_the_mask_does(name: str, settings: dict) -> None:
    """The nearest pixel has at least a quarter of the weight of a bilinear one, and of two in turn a sixteenth."""
    settings = CHAIN if settings.get("steps") else settings
    masks = blocks(60, 48, 64)
    moved, found = augment_with_masks(build("augment", name, **settings), as_images(masks), masks, draw(60))
    assert (found != masks).any()
    if name in COPYING and settings != CHAIN:
        assert torch.equal(moved, as_images(found))
        return
    for number in range(3):
        level = moved[:, number]
        assert (found[level == 255] == number).all()
        assert (level[found == number] >= (12 if settings == CHAIN else 60)).all()
        assert (level == 255).float().mean() > 0.02


@pytest.mark.parametrize(("name", "settings"), [each for each in VARIANTS if each[0] in MOVING])
def test_pixels_from_outside_are_ignored_and_no_other(name: str, settings: dict) -> None:
    images, masks = torch.full((80, 3, 32, 40), 200, dtype=torch.uint8), torch.ones(80, 32, 40, dtype=torch.uint8)
    settings = CHAIN if settings.get("steps") else settings
    moved, found = augment_with_masks(build("augment", name, **settings), images, masks, draw(80))
    level = moved[:, 0]
    assert set(found.unique().tolist()) <= {1, 255}
    assert (found[level == 200] == 1).all()
    if settings != CHAIN:
        assert (found[level == 0] == 255).all()
        assert (found[level > 100] == 1).all()
        assert (found[level < 50] == 255).all()
    leaves = name not in ("flip", "resized_crop") and settings not in (
        {"padding": 0},
        {"smallest": 1.5, "largest": 4.0},
    )
    assert (found == 255).any() == leaves


@pytest.mark.parametrize("name", MOVING)
def test_no_mask_is_looked_at_on_the_host(name: str) -> None:
    masks = torch.zeros(4, 32, 32, dtype=torch.uint8, device="meta")
    numbers = Draw(0, torch.arange(4, device="meta"))
    assert augment_with_masks(build("augment", name), noise(4).to("meta"), masks, numbers)[1].is_meta


def test_several_refuses_a_step_that_does_not_move_masks() -> None:
    augment = build("augment", "several", steps=("flip", "alexnet"))
    with pytest.raises(UserError, match=r"augment\.steps: alexnet does not move masks; available: .*rotate.*scale"):
        augment_with_masks(augment, noise(2), blocks(2, 32, 32), draw(2))


# Against torchvision


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 41)])
def test_a_rotation_is_torchvision_s(height: int, width: int) -> None:
    images, masks = smooth(40, 3, height, width), blocks(40, height, width)
    moved, found = augment_with_masks(build("augment", "rotate", degrees=70.0), images, masks, draw(40))
    angles = (70 * (2 * draw(40).uniform("angle").double() - 1)).tolist()
    assert min(angles) < -50 and max(angles) > 50
    for image, mask, out, rows, angle in zip(images, masks, moved, found, angles, strict=True):
        theirs = V.rotate(image.contiguous(), angle, InterpolationMode.BILINEAR)
        assert (out.int() - theirs.int()).abs().max() <= 1
        of_mask = V.rotate(mask[None], angle, InterpolationMode.NEAREST, fill=[255.0])[0]
        assert (of_mask != rows).float().mean() < 0.01  # where two pixels are as near


def test_angles_are_uniform_on_both_sides() -> None:
    """A line through the middle of a large image is where the angle says."""
    images = torch.zeros(400, 1, 65, 65, dtype=torch.uint8)
    images[:, :, 32, 33:] = 255
    out = build("augment", "rotate", degrees=90.0)(images, draw(400))[:, 0].float()
    places = torch.arange(65) - 32
    down, across = (out.sum(2) @ places.float(), out.sum(1) @ places.float())
    angles = torch.atan2(-down, across) * 180 / math.pi  # counter-clockwise, as rows go down
    expected = 90 * (2 * draw(400).uniform("angle") - 1)
    assert (angles - expected).abs().max() < 3
    assert expected.abs().max() > 80


@pytest.mark.parametrize(("height", "width"), [(24, 32), (31, 20)])
def test_masks_of_resized_crops_are_those_of_torchvision(height: int, width: int) -> None:
    masks, numbers = blocks(60, height, width, side=3), draw(60)
    out = augment_with_masks(build("augment", "resized_crop"), noise(60, 3, height, width), masks, numbers)[1]
    rows, columns = crop_sizes(numbers, height, width, 0.08)
    top = (numbers.uniform("row") * (height - rows + 1)).floor()
    left = (numbers.uniform("column") * (width - columns + 1)).floor()
    mirrored, differing = numbers.uniform("flip") < 0.5, 0.0
    for index in range(60):
        box = [int(edge[index]) for edge in (top, left, rows, columns)]
        window = V.resized_crop(masks[index][None], *box, size=[height, width],
                                interpolation=InterpolationMode.NEAREST_EXACT)[0]  # fmt: skip
        differing += float((out[index] != (window.flip(1) if mirrored[index] else window)).float().mean())
    assert differing / 60 < 0.01  # where two pixels are as near


def test_scales_and_places_are_drawn_from_the_whole_range() -> None:
    """What is left of a white image says its size and place."""
    images, masks = torch.full((500, 1, 64, 64), 255, dtype=torch.uint8), torch.zeros(500, 64, 64, dtype=torch.uint8)
    found = augment_with_masks(build("augment", "scale", smallest=0.25, largest=0.75), images, masks, draw(500))[1]
    inside = found == 0
    rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)
    assert (rows - columns).abs().max() <= 1
    assert torch.equal(inside.sum((1, 2)), rows * columns)
    assert rows.min() <= 17 and rows.max() >= 47 and abs(rows.float().mean() - 32) < 1.5
    first = inside.any(2).int().argmax(1) / (64 - rows)
    assert first.min() < 0.03 and first.max() > 0.95 and abs(first.mean() - 0.5) < 0.05


def test_without_zoom_and_angle_nothing_changes() -> None:
    images, masks = noise(10), blocks(10, 32, 32)
    for name, settings in (("scale", {"smallest": 1.0, "largest": 1.0}), ("rotate", {"degrees": 0.0})):
        out, found = augment_with_masks(build("augment", name, **settings), images, masks, draw(10))
        assert torch.equal(out, images) and torch.equal(found, masks)
    with pytest.raises(UserError, match=r"augment\.smallest=2 is larger than augment\.largest=1"):
        build("augment", "scale", smallest=2.0, largest=1.0)
