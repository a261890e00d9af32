"""The operations of the augmentation policies and the changes of colour, each against torchvision."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from dlzoo.builder.model import build
from dlzoo.data.transforms.colour import jitter
from dlzoo.data.transforms.randaugment_ops import OPERATIONS, apply_operations
from tests.images import draw, noise, smooth

# Operations, each against torchvision one image at a time


def sheared(image: Tensor, degrees: list[float]) -> Tensor:
    return V.affine(image, angle=0, translate=[0, 0], scale=1, shear=degrees, center=[0, 0])


def moved(image: Tensor, pixels: list[int]) -> Tensor:
    return V.affine(image, angle=0, translate=pixels, scale=1, shear=[0.0, 0.0])


REFERENCES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda image, m: image,
    "shear_x": lambda image, m: sheared(image, [math.degrees(math.atan(m)), 0.0]),
    "shear_y": lambda image, m: sheared(image, [0.0, math.degrees(math.atan(m))]),
    "translate_x": lambda image, m: moved(image, [int(m), 0]),
    "translate_y": lambda image, m: moved(image, [0, int(m)]),
    "rotate": lambda image, m: V.rotate(image, m),
    "brightness": lambda image, m: V.adjust_brightness(image, 1 + m),
    "colour": lambda image, m: V.adjust_saturation(image, 1 + m),
    "contrast": lambda image, m: V.adjust_contrast(image, 1 + m),
    "sharpness": lambda image, m: V.adjust_sharpness(image, 1 + m),
    "posterize": lambda image, m: V.posterize(image, 8 - round(abs(m))),
    "solarize": lambda image, m: V.solarize(image, 255 - 255 * abs(m)),
    "autocontrast": lambda image, m: V.autocontrast(image),
    "equalize": lambda image, m: V.equalize(image),
}
#: The highest magnitudes of the wide space (arXiv:2103.10158).
WIDE = {"shear_x": 0.99, "shear_y": 0.99, "translate_x": 32, "translate_y": 32, "rotate": 135}
WIDE |= {"brightness": 0.99, "colour": 0.99, "contrast": 0.99, "sharpness": 0.99, "posterize": 6, "solarize": 1}


def differs(name: str, out: Tensor, expected: Tensor) -> bool:
    off = (out.int() - expected.int()).abs()
    if name in ("shear_x", "shear_y", "rotate"):  # halfway between two pixels rounding decides, for both of us
        return bool((off > 0).float().mean() > 0.004)
    return bool(off.max() > (name in ("brightness", "colour", "contrast", "sharpness", "autocontrast")))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_is_torchvision_s(name: str, channels: int) -> None:
    assert set(REFERENCES) == set(OPERATIONS)
    images = torch.cat([noise(31, channels, 32, 27), smooth(31, channels, 32, 27)])
    images[0], images[31] = 255, 7
    magnitude = torch.linspace(-1, 1, 62)[torch.randperm(62, generator=torch.Generator().manual_seed(0))]
    magnitude = magnitude * WIDE.get(name, 0)
    out = apply_operations(images, torch.full((62,), OPERATIONS.index(name)), magnitude)
    for image, made, m in zip(images.contiguous(), out, magnitude.tolist(), strict=True):
        assert not differs(name, made, REFERENCES[name](image, m)), m
    assert (name == "identity") == torch.equal(out, images) or (name, channels) == ("colour", 1)


def test_trivialaugment_is_one_operation_of_torchvision_and_a_window() -> None:
    images, numbers = smooth(300), draw(300)
    out = build("augment", "trivialaugment", flip=False)(images, numbers)
    operations, levels = numbers.integers("operation", 14), numbers.integers("magnitude", 31)
    signs = torch.where(numbers.uniform("sign") < 0.5, -1, 1)
    rows, columns = numbers.integers("row", 9), numbers.integers("column", 9)
    for index in range(300):
        name = OPERATIONS[operations[index]]
        magnitude = float(signs[index] * WIDE.get(name, 0) * levels[index] / 30)
        changed = F.pad(REFERENCES[name](images[index].contiguous(), magnitude), (4, 4, 4, 4))
        expected = changed[:, rows[index] : rows[index] + 32, columns[index] : columns[index] + 32]
        assert not differs(name, out[index], expected), (name, magnitude)
    assert len(operations.unique()) == 14
    assert len(levels.unique()) == 31


def test_randaugment_is_operations_of_one_magnitude_and_a_window() -> None:
    images, numbers = smooth(300), draw(300)
    narrow = WIDE | dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), 0.9)
    narrow |= {"shear_x": 0.3, "shear_y": 0.3, "rotate": 30, "posterize": 4}
    narrow |= {"translate_x": 32 * 150 / 331, "translate_y": 32 * 150 / 331}
    out = build("augment", "randaugment", operations=1, magnitude=12, flip=False)(images, numbers)
    first = numbers.part(0)
    signs = torch.where(first.uniform("sign") < 0.5, -1, 1)
    rows, columns = numbers.integers("row", 9), numbers.integers("column", 9)
    for index, operation in enumerate(first.integers("operation", 14)):
        name = OPERATIONS[operation]
        magnitude = float(signs[index] * narrow.get(name, 0) * 12 / 30)
        changed = F.pad(REFERENCES[name](images[index].contiguous(), magnitude), (4, 4, 4, 4))
        expected = changed[:, rows[index] : rows[index] + 32, columns[index] : columns[index] + 32]
        assert not differs(name, out[index], expected), (name, magnitude)
    for flip, plain in ((False, "crop"), (True, "flip_crop")):
        nothing = build("augment", "randaugment", operations=0, flip=flip)
        assert torch.equal(nothing(images, numbers), build("augment", plain)(images, numbers))
    twice = build("augment", "randaugment", operations=2, magnitude=12, flip=False)
    assert not torch.equal(twice(images, numbers), out)


@pytest.mark.parametrize("flip", [False, True])
def test_strong_is_trivialaugment_with_a_hole_of_the_mean(flip: bool) -> None:
    images, numbers = smooth(200), draw(200)
    plain = build("augment", "trivialaugment", flip=flip)(images, numbers)
    out = build("augment", "strong", flip=flip, hole_side=0.25)(images, numbers)
    mean = plain.int().sum((2, 3), keepdim=True) // 1024
    changed = (out != plain).any(1)
    assert (torch.where(changed[:, None], out, mean.to(torch.uint8)) == mean).all()
    rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
    assert rows.max() == columns.max() == 8
    assert torch.equal(build("augment", "strong", flip=flip, hole_side=0.0)(images, numbers), plain)


def test_contrast_is_stretched_to_the_ends_and_a_magnitude_of_nothing_changes_nothing() -> None:
    images = noise(300, 3, 12, 12)
    stretched = apply_operations(images, torch.full((300,), OPERATIONS.index("autocontrast")), torch.zeros(300))
    assert (stretched.amin((2, 3)) == 0).all()
    assert (stretched.amax((2, 3)) == 255).all()
    still = [number for number, name in enumerate(OPERATIONS) if name not in ("autocontrast", "equalize", "solarize")]
    bright = (noise(len(still), 3, 32, 32).float() * 2).clamp(1, 255).to(torch.uint8)
    assert torch.equal(apply_operations(bright, torch.tensor(still), torch.zeros(len(still))), bright)


# Colour


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("channels", [1, 3])
def test_each_change_of_colour_is_torchvision_s(kind: int, channels: int) -> None:
    images, amount = torch.cat([noise(50, channels), smooth(50, channels)]), draw(100).uniform("x")
    images[0], images[50] = 255, 0
    factors = torch.ones(100, 4)
    if kind < 3:
        factors[:, kind] = 2 * amount
    turn = amount - 0.5 if kind == 3 else torch.zeros(100)
    out = jitter(images.float(), torch.tensor([2, 0, 3, 1]).expand(100, 4), factors, turn)
    change = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation, V.adjust_hue)[kind]
    value = turn if kind == 3 else factors[:, kind]
    expected = torch.stack([change(i, v) for i, v in zip(images.contiguous(), value.tolist(), strict=True)])
    assert (out - expected.float()).abs().max() <= 1
    assert channels == 1 or not torch.equal(out, images.float())


def test_colours_jitter_in_an_order_of_each_sample_s_own() -> None:
    images, numbers = smooth(200), draw(200)
    out = build("augment", "colour_jitter", brightness=0.3, contrast=0.4, saturation=1.5, hue=0.2)(images, numbers)
    uniform, order = numbers.uniform("factor", 3), numbers.uniform("order", 4).argsort(1)
    low, high = torch.tensor([0.7, 0.6, 0.0]), torch.tensor([1.3, 1.4, 2.5])
    factors, turn = low + (high - low) * uniform, 0.4 * numbers.uniform("hue") - 0.2
    changes = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation, V.adjust_hue)
    right = wrong = 0
    for index in range(200):
        values = [*factors[index].tolist(), float(turn[index])]
        image = other = images[index].contiguous()
        for kind in order[index].tolist():
            image = changes[kind](image, values[kind])
        for kind in order[index].flip(0).tolist():
            other = changes[kind](other, values[kind])
        right += int((out[index].int() - image.int()).abs().float().mean() < 1)
        wrong += int((out[index].int() - other.int()).abs().float().mean() < 1)
    assert right == 200
    assert wrong < 60
    assert len(order.unique(dim=0)) == 24
    unchanged = build("augment", "colour_jitter", brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    assert torch.equal(unchanged(images, numbers), images)
