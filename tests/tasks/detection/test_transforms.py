"""Augmentations of images with objects: a painted rectangle is where its label says, whatever was done to both."""

import matplotlib.colors
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image

from dlzoo.boxes.objects import objects
from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw, Streams
from dlzoo.data.loader import EvalLoader, TrainLoader
from dlzoo.data.split import Split
from dlzoo.data.transforms.affine import move_pixels
from dlzoo.data.transforms.augment import augment_with_boxes
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.settings import AugmentSettings
from dlzoo.tasks.detection.transforms import BoxMixer, BoxTransform, clip, move_boxes, resize
from tests.images import draw, noise, smooth

SIDE = 64
BOXED = [name for name in AUGMENTS.names() if "boxes" in AUGMENTS[name].marks.moves]
STEPS = ("flip", "median", "yolo", "flip")
GEOMETRY_ALONE = {"hue": 0.0, "saturation": 1.0, "value": 1.0}
COLOURS_ALONE = {"scale": 0.0, "shift": 0.0, "flip": False}
MIXTURES = [
    {"mosaic": 1.0},
    {"mosaic": 0.5, "mixup": 1.5},
    {"multi_scale": (48, 80)},
    {"mosaic": 0.7, "mixup": 1.0, "cutout": 9, "multi_scale": (32, 64, 96)},
]


def labels_of(count: int, rows: int = 4, side: int = SIDE, seed: int = 0) -> Tensor:
    """(count, rows, 6): boxes of whole pixels, the class is the row; the second row of each has no object."""
    numbers = np.random.default_rng(seed)
    low = numbers.integers(0, side - 24, (count, rows, 2))
    high = low + numbers.integers(8, 25, (count, rows, 2))
    kind = np.broadcast_to(np.where(np.arange(rows) == 1, -1, np.arange(rows))[None, :, None], (count, rows, 1))
    return torch.from_numpy(np.concatenate((low, high, kind, kind % 2), 2)).float()


def painted(labels: Tensor, sample: int, row: int, side: int = SIDE) -> Tensor:
    """Black images of which one has one white rectangle: that of an object."""
    images = torch.zeros(len(labels), 3, side, side, dtype=torch.uint8).to(memory_format=torch.channels_last)
    left, top, right, bottom = labels[sample, row, :4].int().tolist()
    images[sample, :, top:bottom, left:right] = 255
    return images


def only(labels: Tensor, sample: int, row: int) -> Tensor:
    """Labels without all other objects."""
    alone = labels.clone()
    alone[..., 4] = -1
    alone[sample, row] = labels[sample, row]
    return alone


def around(mask: Tensor) -> Tensor:
    """(4,): the box around what is true in (H, W)."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).flatten().float()


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def meta(count: int) -> Draw:
    return Draw(0, torch.arange(count, device="meta"))


# Properties of all augmentations that are registered with boxes=True


@pytest.mark.parametrize("name", BOXED)
def test_pixels_are_those_of_the_plain_call_and_samples_are_alone(name: str) -> None:
    settings = {"steps": STEPS} if name == "several" else {}
    images, labels, augment = noise(20, 3, SIDE, SIDE), labels_of(20), build("augment", name, **settings)
    before = images.clone(), labels.clone()
    whole = augment_with_boxes(augment, images, labels, draw(20))
    assert same(before, (images, labels))
    assert torch.equal(whole[0], augment(images, draw(20)))
    assert whole[0].is_contiguous(memory_format=torch.channels_last)
    assert whole[1].shape == labels.shape
    for size in (1, 7):
        pairs = zip(images.split(size), labels.split(size), strict=True)
        parts = [augment_with_boxes(augment, *pair, draw(len(pair[0]), first=i * size)) for i, pair in enumerate(pairs)]
        assert same((torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])), whole)
    out = augment_with_boxes(augment, images.to("meta"), labels.to("meta"), meta(20))
    assert out[0].is_meta  # where there are no values nobody can wait for them
    assert out[1].is_meta


@pytest.mark.parametrize("name", [name for name in BOXED if name not in ("several", "yolo")])
def test_what_differs_from_its_surroundings_is_where_the_label_says(name: str) -> None:
    augment, labels = build("augment", name), labels_of(30)
    for row in (0, 2):
        images = torch.cat([painted(labels[index : index + 1], 0, row) for index in range(30)])
        out, found = augment_with_boxes(augment, images, labels, draw(30))
        for image, label in zip(out, found, strict=True):
            box = around((image.int() - image[:, -1:, -1:].int()).abs().amax(0) > 3)
            # A filter reaches a few pixels out.
            assert (box - label[row, :4]).abs().max() <= 4, (name, box, label[row])


def test_an_augmentation_that_hides_or_moves_pixels_without_boxes_does_not_say_so() -> None:
    assert {"crop", "flip_crop", "alexnet", "resized_crop", "randaugment", "trivialaugment", "strong"}.isdisjoint(BOXED)
    assert {"none", "flip", "several", "yolo", "colour_jitter", "gaussian"} <= set(BOXED)


def test_several_refuses_a_step_that_leaves_boxes_behind() -> None:
    augment = build("augment", "several", steps=("flip", "crop"))
    with pytest.raises(UserError, match=r"augment\.steps: crop does not move boxes; available: .*flip"):
        augment_with_boxes(augment, noise(4), labels_of(4), draw(4))
    flips = build("augment", "several", steps=("flip", "flip"))
    images, labels = noise(200, 1, 8, 8), labels_of(200, side=40)
    numbers = [draw(200).part(step).uniform("flip") < 0.5 for step in (0, 1)]
    out, found = augment_with_boxes(flips, images, labels, draw(200))
    still = numbers[0] == numbers[1]
    assert same((out[still], found[still]), (images[still], labels[still]))
    assert 0.3 < still.float().mean() < 0.7


# The mirror, other sizes and places, against torchvision


def boxes_of(labels: Tensor, side: int) -> BoundingBoxes:
    corners = labels[..., :4].reshape(-1, 4)
    return BoundingBoxes(corners, format=BoundingBoxFormat.XYXY, canvas_size=(side, side))  # type: ignore[call-overload]


def test_the_mirror_is_torchvision_s() -> None:
    images, labels = noise(50, 3, SIDE, SIDE), labels_of(50)
    out, found = augment_with_boxes(build("augment", "flip"), images, labels, draw(50))
    mirrored = draw(50).uniform("flip") < 0.5
    theirs = V.horizontal_flip(boxes_of(labels, SIDE)).view(50, 4, 4)
    assert torch.equal(out, torch.where(mirrored[:, None, None, None], V.horizontal_flip(Image(images)), images))
    assert torch.equal(found[..., :4], torch.where(mirrored[:, None, None], theirs, labels[..., :4]))
    assert torch.equal(found[..., 4:], labels[..., 4:])


@pytest.mark.parametrize("side", [32, 64, 100])
def test_another_size_is_torchvision_s(side: int) -> None:
    images, labels = smooth(6, 3, SIDE, SIDE), labels_of(6)
    out, found = resize(images, labels, side)
    assert torch.equal(out, V.resize(Image(images), [side, side]))
    torch.testing.assert_close(
        found[..., :4].reshape(-1, 4), torch.Tensor(V.resize(boxes_of(labels, SIDE), [side] * 2))
    )
    assert torch.equal(found[..., 4:], labels[..., 4:])
    wide, boxes = resize(smooth(2, 3, 30, 60), labels_of(2, side=30), 60)
    assert wide.shape == (2, 3, 60, 60)
    assert torch.equal(boxes[..., [0, 2]], labels_of(2, side=30)[..., [0, 2]])
    assert torch.equal(boxes[..., [1, 3]], labels_of(2, side=30)[..., [1, 3]] * 2)


def test_yolo_moves_pixels_and_boxes_as_torchvision_s_affine() -> None:
    images, labels = smooth(12, 3, SIDE, SIDE), labels_of(12)
    augment = build("augment", "yolo", flip=False, min_visible=0.0, **GEOMETRY_ALONE)
    out, found = augment_with_boxes(augment, images, labels, draw(12))
    scale, shift = 1 + 0.5 * (2 * draw(12).uniform("scale") - 1), 0.2 * SIDE * (2 * draw(12).uniform("shift", 2) - 1)
    assert scale.min() < 0.7
    assert scale.max() > 1.3
    for index in range(12):
        asked = {"angle": 0.0, "translate": shift[index].tolist(), "scale": float(scale[index]), "shear": [0.0, 0.0]}
        linear = {"interpolation": V.InterpolationMode.BILINEAR, "fill": 128.0}
        theirs = V.affine(images[index].float(), **asked, **linear)
        difference = (theirs - out[index]).abs()
        edge = difference > 1.01  # torchvision blends what is half outside in another way
        assert edge.float().mean() < 0.06
        # By hand: torchvision clips as it moves, in newer releases in more than one way.
        boxes = (labels[index, :, :4].view(-1, 2, 2) - SIDE / 2) * scale[index] + SIDE / 2 + shift[index]
        boxes = boxes.clamp(0, SIDE)
        torch.testing.assert_close(found[index, :, :4], boxes.flatten(1), atol=1e-3, rtol=0)
        theirs = V.affine(boxes_of(labels[index], SIDE), **asked)
        whole = found[index, :, 4] >= 0
        torch.testing.assert_close(found[index, whole, :4], torch.Tensor(theirs)[whole], atol=1e-2, rtol=0)


def test_yolo_mirrors_half_of_the_images_before_it_moves_them() -> None:
    images, labels = smooth(60, 3, SIDE, SIDE), labels_of(60)
    turned = images.flip(3), labels.clone()
    turned[1][..., [0, 2]] = SIDE - labels[..., [2, 0]]
    plain, mirroring = (build("augment", "yolo", flip=flip) for flip in (False, True))
    out, found = augment_with_boxes(mirroring, images, labels, draw(60))
    mirrored = draw(60).uniform("flip") < 0.5
    assert 15 < mirrored.sum() < 45
    for chosen, before in ((mirrored, turned), (~mirrored, (images, labels))):
        pixels, rows = augment_with_boxes(plain, *before, draw(60))
        assert (pixels[chosen].int() - out[chosen].int()).abs().max() <= 1
        torch.testing.assert_close(rows[chosen], found[chosen], atol=1e-4, rtol=0)


def test_a_negative_scale_mirrors_and_no_scale_leaves_pixels_as_they_are() -> None:
    images, labels = noise(5, 3, 21, 34).float(), labels_of(5, side=34)
    ones, zeros = torch.ones(5, 2), torch.zeros(5, 2)
    assert torch.equal(move_pixels(images, ones, zeros, fill=128).round(), images)
    mirror, width = torch.tensor([-1.0, 1.0]).expand(5, 2), torch.tensor([34.0, 0.0]).expand(5, 2)
    assert torch.equal(move_pixels(images, mirror, width, fill=128).round(), images.flip(3))
    assert torch.equal(move_boxes(labels, mirror, width)[..., 0], 34 - labels[..., 2])
    assert (move_pixels(images, ones, torch.full((5, 2), 100.0), fill=128) == 128).all()


def test_yolo_turns_hue_and_multiplies_saturation_and_value_as_darknet() -> None:
    images = torch.cat([smooth(40), noise(40)])
    out = build("augment", "yolo", scale=0.0, shift=0.0, flip=False, hue=0.3, saturation=2.0, value=1.7)(
        images, draw(80)
    )
    factors = []
    for name, most in (("saturation", 2.0), ("value", 1.7)):
        factor = 1 + (most - 1) * draw(80).uniform(name)
        factors.append(torch.where(draw(80).uniform(f"{name} divides") < 0.5, 1 / factor, factor).numpy())
    turns = 0.3 * (2 * draw(80).uniform("hue").numpy() - 1)
    for image, made, turn, more, brighter in zip(images, out, turns, *factors, strict=True):
        hue, saturation, value = matplotlib.colors.rgb_to_hsv(image.permute(1, 2, 0).numpy() / 255).transpose(2, 0, 1)
        pure = matplotlib.colors.hsv_to_rgb(np.stack([(hue + turn) % 1, np.ones_like(hue), np.ones_like(hue)], 2))
        expected = (value * brighter)[..., None] * (1 - (saturation * more)[..., None] * (1 - pure))
        difference = np.abs(np.clip(expected, 0, 1) * 255 - made.permute(1, 2, 0).numpy())
        assert difference.max() < 1 + more * brighter  # the hue is turned between whole levels
    grey = noise(20, 1)
    plain = build("augment", "yolo", value=1.0, **COLOURS_ALONE)
    assert torch.equal(plain(grey, draw(20)), grey)


def test_an_object_that_is_hardly_there_is_gone() -> None:
    numbers = np.random.default_rng(0)
    labels = labels_of(200)
    labels[..., :4] += torch.from_numpy(numbers.uniform(-20, 20, (200, 1, 4)).repeat(4, 1)[:, :, [0, 1, 0, 1]]).float()
    found = clip(labels, torch.tensor([50.0, 40.0]).expand(200, 2), 0.4)
    for was, now in zip(labels.flatten(0, 1).tolist(), found.flatten(0, 1).tolist(), strict=True):
        left, top, right, bottom = (min(max(edge, 0.0), side) for edge, side in zip(was, (50, 40) * 2, strict=False))
        assert now[:4] == pytest.approx([left, top, right, bottom])
        share = (right - left) * (bottom - top) / ((was[2] - was[0]) * (was[3] - was[1]))
        stays = share >= 0.4 and min(right - left, bottom - top) >= 2
        assert now[4:] == [was[4] if stays else -1, was[5]]
    kept = (found[..., 4] >= 0).sum() / (labels[..., 4] >= 0).sum()
    assert 0.2 < kept < 0.9


SMALL = {
    # box, and whether it stays in an image of 50 x 40
    "not cut": ((10, 10, 11, 30), True),
    "a point": ((10, 10, 10.1, 10.1), True),
    "small at the border": ((49, 39, 50, 40), True),
    "cut along": ((10, -10, 11, 20), True),
    "cut along by more": ((10, -31, 11, 9), False),
    "cut across": ((-0.5, 10, 1, 30), True),
    "cut across by more": ((-3, 10, 0.9, 30), False),
    "thin what was not": ((-2, 10, 1.9, 30), False),
    "outside": ((-3, 10, -1.5, 30), False),
    "at the corner": ((50, 40, 51, 41), False),
}


@pytest.mark.parametrize("least", [0.25, 0.0])
@pytest.mark.parametrize("name", SMALL)
def test_small_objects_are_removed_for_what_was_cut_only(name: str, least: float) -> None:
    box, stays = SMALL[name]
    labels = torch.tensor([[[*box, 3.0, 0.0]]])
    after = clip(labels, torch.tensor([[50.0, 40.0]]), least)
    by_share = name == "cut along by more" and least == 0  # nine pixels of its length are left
    assert after[0, 0, 4] == (3 if stays or by_share else -1)


@pytest.mark.parametrize("side", [0.5, 1.7, 3.0])
@pytest.mark.parametrize("settings", [{"name": "yolo", "scale": 0.0, "shift": 0.0}, {"name": "flip"}, {"name": "yolo"}])
def test_an_augmentation_keeps_small_objects_in_the_middle(side: float, settings: dict) -> None:
    middle = torch.tensor([30.0, 30, 30 + side, 34, 1, 0])
    augment = build("augment", **settings)
    _, after = augment_with_boxes(augment, noise(40, 3, SIDE, SIDE), middle.repeat(40, 1, 1), draw(40))
    assert (after[..., 4] == 1).all()


def counted(augment: dict, mixer: dict, counted: int = 1, step: int = 0) -> tuple[BoxTransform, Tensor]:
    """A transform after a step, and the labels that it made."""
    statistics = Normalise(torch.zeros(3), torch.ones(3))
    transform = BoxTransform(build("augment", **augment), statistics, BoxMixer(**mixer), counted)
    return transform, transform(noise(20, 3, SIDE, SIDE), labels_of(20), draw(20), step)[1]


@pytest.mark.parametrize("name", ["none", "flip", "yolo", "several"])
def test_objects_that_an_augmentation_cuts_away_are_counted(name: str) -> None:
    transform, labels = counted({"name": name} | ({"steps": STEPS} if name == "several" else {}), {})
    left = int((labels[..., 4] >= 0).sum())
    remarks = [f"augmentation cut away {60 - left} of 60 objects ({(60 - left) / 60:.1%}) in the first epoch"]
    assert transform.new_notes() == (remarks if left < 60 else [])
    assert (left < 60) == (name in ("yolo", "several"))
    assert transform.new_notes() == []


@pytest.mark.parametrize(("share", "objects"), [(1.0, 240), (0.0, 0)])
def test_objects_that_a_mosaic_cuts_away_are_counted(share: float, objects: int) -> None:
    transform, labels = counted({"name": "none"}, {"mosaic": share})
    lost = objects - int((labels[..., 4] >= 0).sum())
    says = f"augmentation cut away {lost} of {objects} objects ({lost / max(1, objects):.1%}) in the first epoch"
    assert transform.new_notes() == ([says] if objects else [])


@pytest.mark.parametrize(("steps", "step"), [(0, 0), (3, 3)])
def test_after_the_first_epoch_nothing_is_counted(steps: int, step: int) -> None:
    transform, labels = counted({"name": "yolo"}, {"mosaic": 1.0}, steps, step)
    assert (labels[..., 4] >= 0).any() and transform.new_notes() == []


# Painted objects


def check_painted(image: Tensor, rows: Tensor, label: Tensor, zoom: float) -> int:
    """What is white in an image has at most one row of labels, which lies around it; without one little is left."""
    mask, rows = image[0] >= 0.6 * 255, rows[rows[:, 4] >= 0]
    if not len(rows):
        height, width = zoom * (label[3] - label[1]), zoom * (label[2] - label[0])
        assert mask.sum() <= 0.25 * height * width + 2 * max(height, width)
        return 0
    assert len(rows) == 1
    assert (around(mask) - rows[0, :4]).abs().max() <= 1, (around(mask), rows)
    assert torch.equal(rows[0, 4:], label[4:])
    return 1


@pytest.mark.parametrize(("name", "settings"), [("yolo", GEOMETRY_ALONE), ("several", {"steps": ("flip", "flip")})])
def test_an_object_is_found_where_an_augmentation_says(name: str, settings: dict) -> None:
    augment, labels, seen = build("augment", name, **settings), labels_of(60), 0
    for row in (0, 2, 3):
        images = torch.cat([painted(labels[index : index + 1], 0, row) for index in range(60)])
        out, found = augment_with_boxes(augment, images, labels, draw(60))
        zooms = (0.5 + draw(60).uniform("scale")).tolist() if name == "yolo" else [1.0] * 60
        for image, was, now, zoom in zip(out, labels, found, zooms, strict=True):
            seen += check_painted(image, now[row : row + 1], was[row], zoom)
    assert seen > 100


@pytest.mark.parametrize("settings", [{"mosaic": 1.0}, {"mosaic": 0.5}, {"multi_scale": (48, 80, 128)}])
def test_an_object_is_found_where_a_mixture_says(settings: dict) -> None:
    mixer, labels, seen = BoxMixer.of(AugmentSettings(**settings)), labels_of(8), 0
    for number, (sample, row) in enumerate((sample, row) for sample in range(8) for row in (0, 2, 3)):
        numbers, only_one = draw(8, seed=number), only(labels, sample, row)
        out, found = mixer(painted(labels, sample, row), only_one, numbers, number)
        stretch = out.shape[2] / SIDE
        for image, rows in zip(out, found, strict=True):
            label = torch.cat((labels[sample, row, :4] * stretch, labels[sample, row, 4:]))
            seen += check_painted(image, rows, label, 0.75 if "mosaic" in settings else 1.0)
    assert seen > (24 if "mosaic" in settings else 23)


def test_a_mixture_of_two_shows_the_objects_of_both() -> None:
    mixer, labels, weak = BoxMixer.of(AugmentSettings(mixup=1.5)), labels_of(8), 0
    for number, (sample, row) in enumerate((sample, row) for sample in range(8) for row in (0, 3)):
        out, found = mixer(painted(labels, sample, row), only(labels, sample, row), draw(8, seed=number), 0)
        rows, boxes = (found[..., 4] >= 0).sum(1), 0
        for image, there, count in zip(out, found, rows.tolist(), strict=True):
            weak += bool(count and not image.any())
            if image.any():
                assert count >= 1
                assert torch.equal(around(image[0] > 0), labels[sample, row, :4])
                assert torch.equal(there[there[:, 4] >= 0][0], labels[sample, row])
            boxes += count
        assert boxes == 2  # once as itself, once as a partner
        assert out.float().sum() == pytest.approx(float(painted(labels, sample, row).sum()), rel=0.6)
    assert weak <= 2


# Mixtures


def test_the_four_of_a_mosaic_are_different_and_fill_it() -> None:
    labels = labels_of(12)
    levels = torch.arange(12, dtype=torch.uint8) * 20 + 10
    images = levels[:, None, None, None].expand(12, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    out, found = BoxMixer.of(AugmentSettings(mosaic=1.0))(images, labels, draw(12), 0)
    there = (found[..., 4] >= 0).sum(1)
    assert found.shape == (12, there.max(), 6)
    centres = []
    for number, image in enumerate(out):
        colours = image.flatten(1).unique(dim=1)[0]
        assert len(colours) == 4
        assert set(colours.tolist()) <= set(levels.tolist())
        assert image[0, 0, 0] == levels[number]
        corner = around(image[0] == levels[number])
        assert corner[:2].tolist() == [0, 0]
        centres.append(corner[2:])
    centres = torch.stack(centres)
    assert centres.min() >= SIDE / 4
    assert centres.max() <= SIDE * 3 / 4
    assert len(centres.unique(dim=0)) > 8


def test_a_share_of_the_pictures_is_a_mosaic_and_the_others_are_as_they_were() -> None:
    images, labels = noise(400, 1, 8, 8), labels_of(400, side=40)
    out, found = BoxMixer.of(AugmentSettings(mosaic=0.3))(images, labels, draw(400), 0)
    untouched = (out == images).flatten(1).all(1)
    assert 0.63 < untouched.float().mean() < 0.77
    assert torch.equal(found[untouched, :3], labels[untouched][:, [0, 2, 3]])  # the second row has no object
    assert (found[untouched, 3:, 4] == -1).all()
    assert (found[~untouched, 3:, 4] >= 0).any()


@pytest.mark.parametrize("settings", MIXTURES)
def test_a_mixture_is_a_function_of_its_numbers(settings: dict) -> None:
    images, labels = noise(16, 3, SIDE, SIDE), labels_of(16)
    before = images.clone(), labels.clone()
    mixer = BoxMixer.of(AugmentSettings(**settings))
    out = mixer(images, labels, draw(16), 3)
    assert same(before, (images, labels))
    assert same(out, BoxMixer.of(AugmentSettings(**settings))(images, labels, draw(16), 3))
    assert out[0].dtype == torch.uint8
    assert out[0].is_contiguous(memory_format=torch.channels_last)
    boxes, _, there, _ = objects(out[1])
    rows = there.sum(1).max() if {"mosaic", "mixup"} & settings.keys() else 4
    assert out[1].shape == (16, rows, 6)
    assert there.any(1).all()
    assert boxes[there].min() >= 0
    assert boxes[there].max() <= out[0].shape[3]
    if len(settings) > 1 or "mosaic" in settings:
        assert not same(out, mixer(images, labels, draw(16, seed=1), 3))
    unseen = mixer(images.to("meta"), labels.to("meta"), meta(16), 3)
    assert unseen[0].is_meta
    assert unseen[1].is_meta


def test_sides_follow_the_step_and_all_of_them_are_drawn() -> None:
    mixer, images, labels = BoxMixer.of(AugmentSettings(multi_scale=(8, 16, 24))), noise(4, 3, 16, 16), labels_of(4)
    sides = [mixer(images, labels, draw(4), step)[0].shape[2] for step in range(60)]
    assert sides == [mixer(images[:2], labels[:2], draw(2, first=9), step)[0].shape[2] for step in range(60)]
    assert all(12 <= sides.count(side) <= 30 for side in (8, 16, 24))


def test_nothing_that_is_asked_for_changes_nothing_and_a_hole_is_grey() -> None:
    images, labels = noise(50, 3, SIDE, SIDE), labels_of(50)
    assert same(BoxMixer.of(AugmentSettings())(images, labels, draw(50), 0), (images, labels))
    out, found = BoxMixer.of(AugmentSettings(cutout=11))(images, labels, draw(50), 0)
    assert torch.equal(found, labels)
    changed = (out != images).any(1)
    assert (out.permute(0, 2, 3, 1)[changed] == 128).all()
    assert 60 < changed.sum((1, 2)).float().mean() <= 121


def test_what_needs_objects_is_refused_for_classes() -> None:
    for settings in (AugmentSettings(mosaic=0.5), AugmentSettings(multi_scale=(32,))):
        with pytest.raises(UserError, match=r"augment\.(mosaic|multi_scale) is for images with objects"):
            settings.mixer(10)


# Feeds


def split_of(count: int) -> Split:
    images = noise(count, 3, SIDE, SIDE).permute(0, 2, 3, 1).contiguous()
    return Split(images, labels_of(count), torch.arange(2 * count).view(count, 2) + 100)


def test_a_training_feed_moves_objects_with_their_pixels() -> None:
    split, normalise = split_of(40), Normalise(torch.zeros(3), torch.ones(3))
    augment, mixer = build("augment", "yolo"), BoxMixer.of(AugmentSettings(mosaic=0.5, multi_scale=(48, 64)))
    feed = TrainLoader(split, BoxTransform(augment, normalise, mixer), Streams(0), 8, 2)
    for step in (0, 3, 7):
        batches = list(feed.batches(step))
        epoch, index = divmod(step, 5)
        places = feed.order(epoch)[index * 8 : index * 8 + 8]
        numbers = Streams(0).draw(places, "augment", epoch)
        images, labels = split.images[places].permute(0, 3, 1, 2), split.labels[places]
        images, labels = mixer(*augment_with_boxes(augment, images, labels, numbers), numbers, step)
        assert torch.equal(torch.cat([batch.images for batch in batches]), normalise(images))
        assert torch.equal(torch.cat([batch.labels for batch in batches]), labels)
        assert [len(batch.images) for batch in batches] == [4, 4]
        assert batches[0].sizes is None


def test_an_evaluation_feed_says_how_large_pictures_were() -> None:
    split = split_of(10)
    feed = EvalLoader(split, Normalise(torch.zeros(3), torch.ones(3)), 4)
    batches = [batch for number in range(len(feed)) if (batch := feed.batch(number)) is not None]
    assert torch.equal(torch.cat([batch.labels for batch in batches]), split.labels)
    assert split.sizes is not None
    assert torch.equal(torch.cat([batch.sizes for batch in batches if batch.sizes is not None]), split.sizes)
    plain = EvalLoader(Split(split.images, torch.arange(10)), Normalise(torch.zeros(3), torch.ones(3)), 4).batch(0)
    assert plain is not None
    assert plain.sizes is None
