"""Signed distance functions of plane figures: positive outside, negative inside.

Each figure fits into the circle of radius 1 around the origin; x points to the right, y down.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin, sqrt

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 1


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.78) - 0.22


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.hypot(x, y) - 1, 0.8 - np.hypot(x - 0.55, y))


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _box(x, y, sqrt(0.5), sqrt(0.5))


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _sides(x, y, 3, 0.5)[-1]


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the second largest side: a point of a five-pointed star is outside at most one of the five lines."""
    return _sides(x, y, 5, cos(2 * pi / 5))[-2]


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    narrow = 0.32
    wide = sqrt(1 - narrow**2)
    return np.minimum(_box(x, y, wide, narrow), _box(x, y, narrow, wide))


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    head = np.maximum((x + np.abs(y) - 1) * sqrt(0.5), -x)
    return np.minimum(head, _box(x + 0.48, y, 0.48, 0.26))


def _box(x: np.ndarray, y: np.ndarray, across: float, down: float) -> np.ndarray:
    return np.maximum(np.abs(x) - across, np.abs(y) - down)


def _sides(x: np.ndarray, y: np.ndarray, count: int, away: float) -> np.ndarray:
    """Return the signed distances to the sides of a regular polygon, in ascending order: (count, ...)."""
    angles = [pi / 2 + 2 * pi * number / count for number in range(count)]
    return np.sort(np.stack([cos(angle) * x + sin(angle) * y - away for angle in angles]), axis=0)


FORMS: dict[str, Distance] = {
    "circle": _circle,
    "ring": _ring,
    "crescent": _crescent,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "arrow": _arrow,
}
