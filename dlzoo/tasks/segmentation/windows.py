"""Segmentation of large images window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def segment_windows(
    segment: Callable[[Tensor], Tensor], images: Tensor, side: int, overlap: int, stride: int
) -> Tensor:
    """Return the logits (N, K, H, W) of images, computed in windows of `side` pixels that overlap by `overlap`.

    A pixel takes its logits from the window in whose middle it lies, as in the overlap-tile strategy of
    arXiv:1505.04597, figure 2: where the overlap is at least the receptive field of a network without global pooling,
    the result equals that for the whole image. An image that is no larger than a window is segmented as a whole.

    Args:
        segment: images (N, C, h, w) -> logits (N, K, h, w).
        images: (N, C, H, W).
        side, overlap: of the windows in pixels; both are rounded up to multiples of `stride`.
        stride: of the network: windows begin at multiples of it.
    """
    height, width = images.shape[2:]
    side, overlap = (-(-length // stride) * stride for length in (side, overlap))
    if max(height, width) <= side:
        return segment(images)
    rows = []
    for top, bottom, kept_down in _windows(height, side, overlap, stride):
        row = []
        for left, right, kept_across in _windows(width, side, overlap, stride):
            logits = segment(images[:, :, top:bottom, left:right])
            row.append(logits[:, :, kept_down, kept_across])
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2)


def _windows(length: int, side: int, overlap: int, stride: int) -> Iterator[tuple[int, int, slice]]:
    """Yield begin and end of each window along an axis, and the part of it whose logits are used."""
    step = max(stride, side - overlap)
    starts = list(range(0, max(1, length - side + step), step))
    # The last window ends with the image and is moved back to keep its size, as far as multiples of the stride allow.
    starts[-1] = min(starts[-1], -(-max(0, length - side) // stride) * stride)
    ends = [min(start + side, length) for start in starts]
    borders = [0, *((end + start) // 2 for end, start in zip(ends[:-1], starts[1:], strict=True)), length]
    for start, end, low, high in zip(starts, ends, borders[:-1], borders[1:], strict=True):
        yield start, end, slice(low - start, high - start)
