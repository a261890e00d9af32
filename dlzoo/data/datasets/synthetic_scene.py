"""Synthetic scenes: figures that occlude each other on a cluttered background, with boxes, classes and masks."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass
from math import cos, exp, log, pi, sin
from typing import NamedTuple

import numpy as np
import torch

from dlzoo.boxes.iou import iou
from dlzoo.core.rng import Streams
from dlzoo.data.datasets.sdf import FORMS

#: Positions that are tried per figure, and figures that are tried per object.
_TRIES, _ATTEMPTS = 40, 4
#: The fraction of every figure that stays visible, and its minimum diameter in pixels.
_VISIBLE, _SMALLEST = 0.3, 6.0
_OUTLINES = list(FORMS.values())


@dataclass(frozen=True)
class SceneSettings:
    """Settings of scenes; `smallest` and `largest` are diameters of a figure's circumcircle, as fractions of the side.

    `objects`: the maximum number of figures; the minimum is one. `overlap`: the maximum IoU of two boxes. `crowd`: the
    fraction of figures that stand beside another one, of its form and about its size, with an IoU of at least half of
    `overlap`. `clutter`: strokes in the background, 1 is forty of them. `turn`: the maximum rotation of a figure in
    either direction, as a fraction of half a turn.
    """

    seed: int
    image_size: int
    objects: int
    smallest: float
    largest: float
    overlap: float
    crowd: float
    clutter: float
    turn: float


class Scene(NamedTuple):
    """Scene: image (S, S, 3) uint8; boxes (m, 4) x1, y1, x2, y2; classes (m,) indices of FORMS; masks (m, S, S) bool.

    A mask includes the occluded part of its figure, and a box is the smallest around its mask; where masks overlap, the
    later one is in front.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    masks: np.ndarray


class _Figure(NamedTuple):
    """A figure without a position: the coverage of each pixel, and the weight of its darker rim."""

    form: int
    diameter: float
    cover: np.ndarray
    rim: np.ndarray


class _Numbers:
    """Random numbers in double precision: rounding that differs between machines does not change a pixel's level."""

    def __init__(self, streams: Streams, *path: str | int) -> None:
        self._generator = streams.generator(*path)

    def uniform(self, *shape: int) -> np.ndarray:
        return torch.rand(shape, generator=self._generator, dtype=torch.float64).numpy()

    def one(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self.uniform())

    def integer(self, high: int) -> int:
        return int(self.one(0, high))


def draw_scene(settings: SceneSettings, split: str, index: int) -> Scene:
    """Draw scene `index` of a split; it depends on nothing but the settings, the split and the index."""
    streams, side = Streams(settings.seed), settings.image_size
    image = _draw_background(_Numbers(streams, "shapes", split, index, "background"), side, settings.clutter)
    numbers = _Numbers(streams, "shapes", split, index, "objects")
    boxes, masks, figures = np.zeros((0, 4)), [], []
    in_front = np.full((side, side), -1)
    count = 1 + numbers.integer(settings.objects)
    for _ in range(_ATTEMPTS * count):
        if len(figures) == count:
            break
        beside = numbers.integer(len(figures)) if figures and numbers.one() < settings.crowd else None
        figure = _draw_figure(numbers, settings, None if beside is None else figures[beside])
        colour = 255 * np.array(hsv_to_rgb(numbers.one(), numbers.one(0.55, 1), numbers.one(0.5, 1)))
        box = _place(numbers, settings, figure, boxes, beside)
        if box is None:
            continue
        left, top, right, bottom = box
        mask = np.zeros((side, side), bool)
        mask[top:bottom, left:right] = figure.cover >= 0.5
        visible = np.where(mask, len(masks), in_front)
        areas = np.array([np.count_nonzero(other) for other in (*masks, mask)])
        if (np.bincount(visible[visible >= 0], minlength=len(areas)) < _VISIBLE * areas).any():
            continue
        window, rim = image[top:bottom, left:right], figure.rim[..., None]
        window += figure.cover[..., None] * (colour * (1 - 0.55 * rim) - window)
        boxes, in_front = np.concatenate((boxes, box[None])), visible
        masks.append(mask)
        figures.append(figure)
    classes = np.array([figure.form for figure in figures])
    return Scene(np.floor(image + 0.5).astype(np.uint8), boxes, classes, np.stack(masks))


def _draw_figure(numbers: _Numbers, settings: SceneSettings, like: _Figure | None) -> _Figure:
    """Draw a figure of random form, size and angle, or of the form and about the size of `like`."""
    side, form = settings.image_size, numbers.integer(len(FORMS))
    diameter = side * exp(numbers.one(log(settings.smallest), log(settings.largest)))
    angle, stretch = settings.turn * numbers.one(-pi, pi), numbers.one(0.85, 1.15)
    if like is not None:
        form, diameter = like.form, min(like.diameter * stretch, side * settings.largest)
    diameter = min(max(diameter, _SMALLEST), side - 1)
    window = 2 * int(diameter / 2 + 2)
    middles = np.arange(window) + 0.5 - window / 2
    x, y = middles[None, :] * (2 / diameter), middles[:, None] * (2 / diameter)
    outside = _OUTLINES[form](cos(angle) * x + sin(angle) * y, cos(angle) * y - sin(angle) * x) * (diameter / 2)
    cover = np.clip(0.5 - outside, 0, 1)
    rows, columns = (np.flatnonzero((cover >= 0.5).any(axis)) for axis in (1, 0))
    tight = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Figure(form, diameter, cover[tight], np.clip(outside + 1.5, 0, 1)[tight])


def _place(
    numbers: _Numbers, settings: SceneSettings, figure: _Figure, boxes: np.ndarray, beside: int | None
) -> np.ndarray | None:
    """Return a random integer box (4,) for a figure, or None if no position was found.

    Its IoU with any other box is at most `overlap`, and with the one that it is `beside` at least half of that.
    """
    size = np.array(figure.cover.shape[::-1])
    room = settings.image_size - size
    shares = numbers.uniform(_TRIES, 2)
    if beside is None:
        corners = np.floor(shares * (room + 1))
    else:
        other = boxes[beside]
        corners = np.floor((other[:2] + other[2:] - size) / 2 + (2 * shares - 1) * size)
    tried = np.concatenate((corners, corners + size), 1)
    fits = ((corners >= 0) & (corners <= room)).all(1)
    if len(boxes):
        ious = iou(torch.from_numpy(tried)[:, None], torch.from_numpy(boxes)).numpy()
        fits &= ious.max(1) <= settings.overlap
        if beside is not None:
            fits &= ious[:, beside] >= settings.overlap / 2
    return tried[fits.argmax()].astype(int) if fits.any() else None


def _draw_background(numbers: _Numbers, side: int, clutter: float) -> np.ndarray:
    """Draw a background, float (S, S, 3): a gradient of pale colours, coarse noise, and strokes."""
    base = np.array(hsv_to_rgb(numbers.one(), numbers.one(0, 0.35), numbers.one(0.25, 0.9))) * 255
    corners = base + 50 * (2 * numbers.uniform(2, 2, 3) - 1)
    cells = max(2, side // 8)
    grain = 50 * clutter * (2 * numbers.uniform(cells, cells) - 1)
    image = _upsample(corners, side) + _upsample(grain[..., None], side)
    for shares in numbers.uniform(round(40 * clutter), 8):
        _draw_stroke(image, shares)
    return image.clip(0, 255)


def _upsample(grid: np.ndarray, side: int) -> np.ndarray:
    """Upsample (n, n, C) -> (side, side, C), bilinear."""
    places = np.linspace(0, len(grid) - 1, side)
    below = np.minimum(places.astype(int), len(grid) - 2)
    share = places - below
    rows = grid[below] * (1 - share)[:, None, None] + grid[below + 1] * share[:, None, None]
    return rows[:, below] * (1 - share)[:, None] + rows[:, below + 1] * share[:, None]


def _draw_stroke(image: np.ndarray, shares: np.ndarray) -> None:
    """Draw a line with round ends into the image; `shares` (8,): its angle, length, thickness, position and colour."""
    side = len(image)
    angle, reach, thick = pi * shares[0], side * (0.05 + 0.25 * shares[1]), 0.4 + (0.1 + 0.015 * side) * shares[2]
    middle, colour = side * shares[3:5], 255 * shares[5:]
    half = np.abs([cos(angle), sin(angle)]) * reach + thick + 1
    (left, top), (right, bottom) = (np.clip(edge, 0, side).astype(int) for edge in (middle - half, middle + half + 1))
    x, y = np.arange(left, right)[None, :] + 0.5 - middle[0], np.arange(top, bottom)[:, None] + 0.5 - middle[1]
    along = (x * cos(angle) + y * sin(angle)).clip(-reach, reach)
    away = np.hypot(x - along * cos(angle), y - along * sin(angle))
    window, cover = image[top:bottom, left:right], np.clip(0.5 + thick - away, 0, 1)[..., None]
    window += cover * (colour - window)
