"""Receptive fields, followed through a forward pass on the meta device.

Along each axis a feature depends on pixels at fixed distances from its own place. Those distances are a set of bits;
convolution, pooling, padding, slicing and upsampling shift it, and where branches meet, sets are united. The span of
the set is the receptive field (Araujo et al. 2019, "Computing receptive fields of convolutional neural networks"), and
the part of the span that is set says whether dilation leaves gaps (gridding, arXiv:1702.08502, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten


@dataclass(frozen=True)
class Line:
    """Pixels of a row that a feature sees: bit b of `taps` is the pixel at place * jump + start + b.

    Attributes:
        jump: pixels from one feature to the next.
    """

    taps: int = 1
    start: int = 0
    jump: int = 1

    @property
    def span(self) -> int:
        """The receptive field in pixels, first to last."""
        return self.taps.bit_length()

    @property
    def coverage(self) -> float:
        """The part of the span that counts."""
        return self.taps.bit_count() / self.span

    def seen_through(self, shifts: Iterable[int], jump: int) -> Line:
        """What a feature sees that is made of the features `shifts` pixels away; `jump` is its own."""
        moved = sorted(set(shifts))
        taps = reduce(int.__or__, (self.taps << (shift - moved[0]) for shift in moved))
        # Trailing zeros would make the span too long.
        zeros = (taps & -taps).bit_length() - 1
        return Line(taps >> zeros, self.start + moved[0] + zeros, jump)

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Line:
        """After a convolution or a pooling: feature i sees i * stride - padding + t * dilation, t = 0 to kernel - 1."""
        return self.seen_through(((t * dilation - padding) * self.jump for t in range(kernel)), self.jump * stride)

    def transposed(self, kernel: int, stride: int, padding: int) -> Line:
        """After a transposed convolution: places that differ by their phase are united."""
        jump = self.jump // stride
        return self.seen_through(
            (
                (phase + padding - t) // stride * self.jump - phase * jump
                for phase in range(stride)
                for t in range(kernel)
                if (phase + padding - t) % stride == 0
            ),
            jump,
        )

    def upsampled(self, factor: int, bilinear: bool) -> Line:
        """After upsampling (bilinear: align_corners=False)."""
        jump = self.jump // factor
        shifts = []
        for phase in range(factor):
            first = (2 * phase + 1 - factor) // (2 * factor) if bilinear else 0
            for neighbour in (first, first + 1) if bilinear and factor > 1 else (first,):
                shifts.append(neighbour * self.jump - phase * jump)
        return self.seen_through(shifts, jump)

    def united(self, other: Line) -> Line:
        """Where two branches meet; their features lie equally far apart."""
        start = min(self.start, other.start)
        taps = (self.taps << (self.start - start)) | (other.taps << (other.start - start))
        return Line(taps, start, max(self.jump, other.jump))


@dataclass(frozen=True)
class Field:
    """The pixels that a feature sees, by axis."""

    height: Line
    width: Line


class Reach(TorchDispatchMode):
    """While it is entered, knows of each tensor what its features see: `of(tensor)`; None is the whole image."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._fields: Any = WeakTensorKeyDictionary()
        self._fields[images] = Field(Line(), Line())

    def of(self, tensor: Tensor) -> Field | None:
        return self._fields.get(tensor)

    def set(self, tensor: Tensor, field: Field | None) -> None:
        self._fields[tensor] = field

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [x for x in _tensors(args) if x in self._fields]
        if inputs:
            rule = _RULES.get(func.overloadpacket, _elementwise)
            field = rule(self, inputs, args, out)
            for tensor in _tensors([out]):
                self._fields[tensor] = field
        return out


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _elementwise(reach: Reach, inputs: list[Tensor], args: Any, out: Any) -> Field | None:
    """Whatever leaves the pixels where they are; whatever does not may have mixed all of them."""
    fields = [reach.of(tensor) for tensor in inputs]
    first = _tensors([out])[0]
    in_place = all(x.dim() > 3 and x.shape[-2:] == first.shape[-2:] for x in inputs) and first.dim() > 3
    if not in_place or any(field is None for field in fields):
        return None
    known = [field for field in fields if field is not None]
    return Field(
        reduce(Line.united, (field.height for field in known)), reduce(Line.united, (field.width for field in known))
    )


def _each(change: Callable[..., tuple[Line, Line]]) -> Callable[..., Field | None]:
    """A rule from what becomes of the two axes of the first tensor."""

    def rule(reach: Reach, inputs: list[Tensor], args: Any, out: Any) -> Field | None:
        field = reach.of(args[0])
        return None if field is None else Field(*change(field, args, out))

    return rule


def _pair(values: Any, default: int = 1) -> tuple[int, int]:
    values = list(values) if isinstance(values, list | tuple) else [values]
    return (values[0], values[-1]) if values else (default, default)


@_each
def _convolution(field: Field, args: Any, out: Tensor) -> tuple[Line, Line]:
    _, weight, _, stride, padding, dilation, transposed = args[:7]
    if weight.dim() == 3:  # along one axis: only on features without pixels
        return field.height, field.width
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    kh, kw = weight.shape[2:]
    if transposed:
        return field.height.transposed(kh, sh, ph), field.width.transposed(kw, sw, pw)
    return field.height.window(kh, sh, ph, dh), field.width.window(kw, sw, pw, dw)


@_each
def _pool(field: Field, args: Any, out: Any) -> tuple[Line, Line]:
    kernel = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
    padding = _pair(args[3]) if len(args) > 3 else (0, 0)
    return field.height.window(kernel[0], stride[0], padding[0]), field.width.window(kernel[1], stride[1], padding[1])


def _adaptive(reach: Reach, inputs: list[Tensor], args: Any, out: Tensor) -> Field | None:
    """To as many pixels as there are is nothing; to a divisor of them a pooling; to others windows of several sizes."""
    field, before, after = reach.of(args[0]), args[0].shape[-2:], out.shape[-2:]
    if field is None or 1 in after or any(b % a for b, a in zip(before, after, strict=True)):
        return field if before == after else None
    kh, kw = (b // a for b, a in zip(before, after, strict=True))
    return Field(field.height.window(kh, kh), field.width.window(kw, kw))


@_each
def _pad(field: Field, args: Any, out: Tensor) -> tuple[Line, Line]:
    sides = [*args[1], 0, 0, 0, 0]
    return field.height.window(1, padding=sides[2]), field.width.window(1, padding=sides[0])


def _slice(reach: Reach, inputs: list[Tensor], args: Any, out: Tensor) -> Field | None:
    x, dim = args[0], args[1] if len(args) > 1 else 0
    start, step = (args[2] or 0) if len(args) > 2 else 0, args[4] if len(args) > 4 else 1
    field, axis = reach.of(x), dim % x.dim() - x.dim()
    if field is None or axis < -2 or x.dim() < 4:
        return field
    line = field.height if axis == -2 else field.width
    moved = line.window(1, step, -start)
    return Field(moved, field.width) if axis == -2 else Field(field.height, moved)


def _upsample(bilinear: bool) -> Callable[..., Field | None]:
    @_each
    def rule(field: Field, args: Any, out: Tensor) -> tuple[Line, Line]:
        factors = [new // old for new, old in zip(out.shape[-2:], args[0].shape[-2:], strict=True)]
        return field.height.upsampled(factors[0], bilinear), field.width.upsampled(factors[1], bilinear)

    return rule


_RULES: dict[Any, Callable[..., Field | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pool,
    aten.avg_pool2d: _pool,
    aten._adaptive_avg_pool2d: _adaptive,
    aten.constant_pad_nd: _pad,
    aten.slice: _slice,
    aten.upsample_nearest2d: _upsample(False),
    aten.upsample_bilinear2d: _upsample(True),
}
