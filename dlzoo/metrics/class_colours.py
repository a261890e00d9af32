"""Colours of classes in pictures."""

from __future__ import annotations

#: matplotlib's tab20: ten strong colours, each followed by a light one.
_COLOURS = (
    *("#1f77b4", "#aec7e8", "#ff7f0e", "#ffbb78", "#2ca02c", "#98df8a", "#d62728", "#ff9896", "#9467bd", "#c5b0d5"),
    *("#8c564b", "#c49c94", "#e377c2", "#f7b6d2", "#7f7f7f", "#c7c7c7", "#bcbd22", "#dbdb8d", "#17becf", "#9edae5"),
)


def class_colour(number: int) -> str:
    """Return the colour "#rrggbb" of class `number`: ten strong colours, then ten light ones, then repeated."""
    return _COLOURS[2 * (number % 10) + number // 10 % 2]


def is_dark(colour: str) -> bool:
    """Return whether white letters on a colour "#rrggbb" are easier to read than black ones."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue < 0.55 * 255
