"""Mixtures of samples and their labels, holes, views of a tested image, and shifted test sets."""

import matplotlib.colors
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from dlzoo.builder.model import build
from dlzoo.core.rng import Draw
from dlzoo.data.transforms.augment import transform_for_test
from dlzoo.data.transforms.corruptions import make_shift
from dlzoo.data.transforms.mixing import beta_quantiles, quantile
from dlzoo.data.transforms.settings import AugmentSettings
from dlzoo.data.transforms.test_time import make_views
from tests.images import draw, noise, smooth

SETTINGS = [{"cutout": 5}, {"mixup": 0.4}, {"cutmix": 1.0}, {"cutout": 6, "mixup": 0.2, "cutmix": 1.0}]


def numbered(count: int, side: int = 16) -> tuple[Tensor, Tensor]:
    """Images that are their own number everywhere, and labels that are it too."""
    labels = torch.arange(count)
    images = labels.float()[:, None, None, None].expand(count, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last), labels


def mixed(count: int, side: int = 16, seed: int = 0, **settings: float) -> tuple[Tensor, Tensor]:
    mixer = AugmentSettings(**settings).mixer(count)
    assert mixer is not None
    return mixer(*numbered(count, side), draw(count, seed))


# Mixtures


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_mixture_is_a_function_of_its_numbers(settings: dict) -> None:
    images, labels = mixed(64, **settings)
    again, labels_again = mixed(64, **settings)
    assert torch.equal(images, again)
    assert torch.equal(labels, labels_again)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(images, mixed(64, seed=1, **settings)[0])
    mixer = AugmentSettings(**settings).mixer(64)
    assert mixer is not None
    out, _ = mixer(images.to("meta"), labels.argmax(1).to("meta") if labels.ndim == 2 else labels.to("meta"), meta(64))
    assert out.is_meta  # where there are no values nobody can wait for them


def meta(count: int) -> Draw:
    return Draw(0, torch.arange(count, device="meta"))


@pytest.mark.parametrize("settings", [*SETTINGS[1:3], {"mixup": 0.3, "cutmix": 0.7}])
def test_labels_are_mixed_as_the_pixels_are(settings: dict) -> None:
    images, labels = mixed(300, **settings)
    assert labels.shape == (300, 300)
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels.sum(1), torch.ones(300))
    assert (labels > 0).sum(1).max() == 2
    torch.testing.assert_close(images.mean((1, 2, 3)), labels @ torch.arange(300.0))
    others = labels - torch.eye(300) * labels.diagonal()
    assert ((others > 0).sum(0) <= 1).all()  # partners are a permutation


def test_mixup_mixes_whole_images_and_cutmix_a_rectangle() -> None:
    for settings, both in (({"mixup": 1.0}, False), ({"cutmix": 1.0}, False), ({"mixup": 1.0, "cutmix": 1.0}, True)):
        images, labels = mixed(400, 20, **settings)
        flat = (images == images[:, :, :1, :1]).flatten(1).all(1)
        changed = labels.diagonal() < 1
        if not both:
            assert flat[changed].all() if "mixup" in settings else (images == images.round()).all()
        share = flat[changed].float().mean()  # a rectangle may also cover everything
        assert (0.4 < share < 0.65) if both else ((share == 1) if "mixup" in settings else (share < 0.1))
    images, labels = mixed(400, 20, cutmix=1.0)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        cut = (image[0] != number).int()
        rows, columns = cut.any(1).sum(), cut.any(0).sum()
        assert cut.sum() == rows * columns
        assert abs(float(1 - label[number]) - float(cut.sum()) / 400) < 1e-6


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 2.0, 30.0])
def test_weights_are_quantiles_of_the_beta_distribution(alpha: float) -> None:
    # Against floats of the same precision: of a small alpha many weights are 1 up to rounding.
    expected = np.random.default_rng(0).beta(alpha, alpha, 20_000).astype(np.float32)
    weights = quantile(beta_quantiles(alpha), draw(20_000).uniform("x"))
    assert stats.ks_2samp(weights, expected).pvalue > 0.01
    _, labels = mixed(2000, 2, mixup=alpha)
    assert stats.ks_2samp(labels.diagonal(), expected).pvalue > 0.01


def test_the_rectangle_of_cutmix_has_the_area_of_its_weight() -> None:
    """Away from the border: its middle is anywhere, and what lies outside of the image is lost."""
    _, labels = mixed(2000, 64, cutmix=1.0)
    area = 1 - labels.diagonal().double()
    rng = np.random.default_rng(0)
    side = (64 * np.sqrt(rng.beta(1.0, 1.0, 20_000))).astype(int)
    starts = rng.integers(0, 64, (2, 20_000)) - side // 2
    rows, columns = np.clip(starts + side, 0, 64) - np.clip(starts, 0, 64)
    assert stats.ks_2samp(area, rows * columns / 64**2).pvalue > 0.01


def test_nothing_that_is_asked_for_is_no_mixer() -> None:
    assert AugmentSettings().mixer(10) is None
    for name in ("mixup", "cutmix", "cutout"):
        assert AugmentSettings(**{name: 1}).mixer(10) is not None


def test_cutout_is_a_square_of_zeros_that_may_lie_across_the_border() -> None:
    images, labels = mixed(3000, 16, cutout=5)
    assert torch.equal(labels, torch.arange(3000))
    gone = (images == 0).all(1)[1:].int()  # the image with number 0 has nothing else
    rows, columns = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.sum((1, 2)), rows * columns)
    assert rows.min() == columns.min() == 3  # a middle in the corner
    assert rows.max() == columns.max() == 5
    middle = gone[:, 4:12, 4:12].float().mean((0, 1, 2))
    assert abs(float(middle) - 25 / 256) < 0.004
    near = torch.tensor([3, 4, *[5] * 12, 4, 3]) / 16  # how often a row is near enough to the middle
    assert (gone.float().mean(0) - near[:, None] * near).abs().max() < 0.025


# Views


@pytest.mark.parametrize("name", ["none", "flip_crop", "alexnet", "several"])
@pytest.mark.parametrize(("kind", "count"), [("none", 1), ("flip", 2), ("flip_shift", 6), ("ten_crop", 10)])
def test_views_have_one_size_and_begin_with_what_is_seen(name: str, kind: str, count: int) -> None:
    for size in (16, 33, 64):
        images, augment = noise(3, 3, size, size), build("augment", name)
        seen, made = transform_for_test(augment, images), make_views(kind, augment)(images)
        assert len(made) == count
        assert {view.shape for view in made} == {seen.shape}
        assert {view.dtype for view in made} == {torch.uint8}
        assert any(torch.equal(view, seen) for view in made)
        assert all(any(torch.equal(view.flip(3), other) for other in made) for view in made) or kind == "none"
        assert len({view.numpy().tobytes() for view in made}) == count


def test_flip_shift_moves_by_a_sixteenth_with_the_border_repeated() -> None:
    images = noise(4, 3, 32, 32)
    made = make_views("flip_shift", build("augment", "none"))(images)
    places = torch.arange(32)
    for view, by in ((made[1], -2), (made[2], 2)):
        rows = (places + by).clamp(0, 31)
        assert torch.equal(view, images[:, :, rows][:, :, :, rows])
    for plain, mirrored in zip(made[:3], made[3:], strict=True):
        assert torch.equal(mirrored, plain.flip(3))


@pytest.mark.parametrize("name", ["alexnet", "flip_crop"])
def test_ten_crop_is_torchvision_s(name: str) -> None:
    images = noise(4, 3, 32, 32)
    made = make_views("ten_crop", build("augment", name))(images)
    larger, side = (images, 28) if name == "alexnet" else (F.pad(images, (4, 4, 4, 4)), 32)
    theirs = V.ten_crop(larger, [side, side])
    assert {view.numpy().tobytes() for view in made} == {view.contiguous().numpy().tobytes() for view in theirs}


# Shifted test sets


def published(kind: str, severity: int, image: np.ndarray) -> np.ndarray:
    """make_cifar_c.py in its own terms; `image` is (H, W, 3) uint8."""
    pixels = image / 255.0
    if kind == "blur":
        sigma = [0.4, 0.6, 0.7, 0.8, 1.0][severity - 1]
        return ndimage.gaussian_filter(pixels, (sigma, sigma, 0), mode="nearest") * 255
    hsv = matplotlib.colors.rgb_to_hsv(pixels)
    hsv[..., 2] = np.clip(hsv[..., 2] + [0.05, 0.1, 0.15, 0.2, 0.3][severity - 1], 0, 1)
    return matplotlib.colors.hsv_to_rgb(hsv) * 255


@pytest.mark.parametrize("kind", ["brightness", "blur"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_shift_is_that_of_cifar_10_c(kind: str, severity: int) -> None:
    images = torch.cat([smooth(8), noise(8)])
    images[0], images[1] = 0, 255
    out = make_shift(kind, severity)(images, draw(16))
    for image, made in zip(images.permute(0, 2, 3, 1).numpy(), out.permute(0, 2, 3, 1).numpy(), strict=True):
        expected = published(kind, severity, image)
        assert ((expected - made > -0.01) & (expected - made < 1.01)).all()  # cut off, not rounded
    grey = images[:, :1]
    assert torch.equal(
        make_shift(kind, severity)(grey.expand(-1, 3, -1, -1), draw(16))[:, :1],
        make_shift(kind, severity)(grey, draw(16)),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_has_the_published_deviation_and_is_keyed_by_sample(channels: int) -> None:
    images = torch.full((100, channels, 32, 32), 128, dtype=torch.uint8)
    for severity, deviation in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), 1):
        noisy = make_shift("noise", severity)(images, draw(100))
        added = noisy.float() + 0.5 - 128  # a cut-off takes half a level on average
        assert abs(added.mean()) < 0.3
        assert abs(added.std() / 255 / deviation - 1) < 0.02
        assert stats.kstest((added.flatten() / added.std())[:5000] + 0.0, "norm").statistic < 0.03
    apart = [make_shift("noise", 5)(images[:50], draw(50)), make_shift("noise", 5)(images[50:], draw(50, first=50))]
    assert torch.equal(torch.cat(apart), noisy)
    assert torch.equal(make_shift("none", 5)(images, draw(100)), images)
