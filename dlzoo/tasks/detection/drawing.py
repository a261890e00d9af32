"""Boxes with names and scores, drawn on an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dlzoo.metrics.class_colours import class_colour, is_dark
from dlzoo.tasks.output_files import shrink

#: The approximate longer side in pixels to which a small image is enlarged.
_LONG = 640
#: Size of letters in pixels on an image of up to `_USUAL` by `_USUAL` pixels; on larger ones they grow with it.
_LETTERS, _USUAL = 12.5, 900


def draw_detections(
    image: Image.Image, detections: Tensor, classes: Sequence[str], *, full_size: bool = False
) -> Image.Image:
    """Return the RGB image with boxes, names and scores of detections (D, 6), the highest score on top.

    A small image is enlarged first. One of more than 4 megapixels is scaled down to that, unless `full_size` is set.
    """
    shown = _resize(image, full_size=full_size)
    scale = shown.width / image.width, shown.height / image.height
    pen, rows = _Pen(shown), sorted(detections[detections[:, 4] > 0].tolist(), key=lambda row: row[4])
    boxes = [[round(edge * scale[place % 2]) for place, edge in enumerate(row[:4])] for row in rows]
    for box, row in zip(boxes, rows, strict=True):
        pen.draw_box(box, class_colour(int(row[5])))
    for box, row in zip(boxes, rows, strict=True):  # no box crosses a label
        pen.draw_label(box, class_colour(int(row[5])), classes[int(row[5])], row[4])
    return shown


class _Pen:
    """Draws boxes with labels on an image, with lines and letters that suit its size."""

    def __init__(self, image: Image.Image) -> None:
        self._size, self._canvas = image.size, ImageDraw.Draw(image)
        self._font = _font(round(_LETTERS * max(1.0, math.sqrt(image.width * image.height) / _USUAL)))
        self._line = max(2, round(self._font.size / 5))

    def draw_box(self, box: Sequence[int], colour: str) -> None:
        """Draw the outline of the box x1, y1, x2, y2."""
        half, (x1, y1, x2, y2) = self._line // 2, box
        self._canvas.rectangle((x1 - half, y1 - half, x2 + half, y2 + half), outline=colour, width=self._line)

    def draw_label(self, box: Sequence[int], colour: str, name: str, score: float) -> None:
        """Draw name and score above the box, or below its upper edge where there is no room; always in the image."""
        text = self._shorten(" ".join(name.split()), f" {score:.2f}")
        ascent, descent = self._font.getmetrics()
        width, height = math.ceil(self._font.getlength(text)) + 2 * self._line, ascent + descent
        x1, y1 = (edge - self._line // 2 for edge in box[:2])
        left = max(0, min(x1, self._size[0] - width))
        top = max(0, min(y1 - height if y1 >= height else y1, self._size[1] - height))
        self._canvas.rectangle((left, top, left + width - 1, top + height - 1), fill=colour)
        fill = "white" if is_dark(colour) else "black"
        self._canvas.text((left + self._line, top), text, fill=fill, font=self._font)

    def _shorten(self, name: str, score: str) -> str:
        """Return name and score; the end of a name for which the image is too narrow becomes an ellipsis."""
        room, text = self._size[0] - 2 * self._line, name + score
        kept = name[: self._size[0]]  # no letter is narrower than a pixel
        while kept and self._font.getlength(text) > room:
            kept = kept[:-1]
            text = f"{kept.rstrip()}…{score}"
        return text


def _resize(image: Image.Image, *, full_size: bool) -> Image.Image:
    """Return a copy of the size in which an image is drawn."""
    width, height = image.size
    times = max(1, round(_LONG / max(width, height)))
    if times > 1:
        return image.resize((width * times, height * times), Image.Resampling.BICUBIC)
    return image.copy() if full_size else shrink(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's font, which has Greek, Cyrillic and Arabic letters; Pillow's own has Latin ones only."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
