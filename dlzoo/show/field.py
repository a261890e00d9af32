"""Compute receptive fields in a forward pass on the meta device.

Along each axis a feature depends on pixels at fixed offsets from its own place. These offsets are a bit mask;
convolution, pooling, padding, slicing and upsampling shift it, and where branches are merged, masks are combined. The
span of the mask is the receptive field (Araujo et al. 2019, "Computing receptive fields of convolutional neural
networks"), and the fraction of the span that is set shows whether dilation leaves gaps (gridding, arXiv:1702.08502,
section 3.2).
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
class AxisField:
    """The pixels along an axis that a feature depends on: bit b of `mask` is the pixel at place * jump + start + b.

    Attributes:
        jump: pixels from one feature to the next.
    """

    mask: int = 1
    start: int = 0
    jump: int = 1

    @property
    def span(self) -> int:
        """The receptive field in pixels, from the first to the last."""
        return self.mask.bit_length()

    @property
    def coverage(self) -> float:
        """The fraction of the span that the feature depends on."""
        return self.mask.bit_count() / self.span

    def seen_through(self, shifts: Iterable[int], jump: int) -> AxisField:
        """Return the field of a feature that combines features `shifts` pixels away; `jump` is that of the result."""
        moved = sorted(set(shifts))
        mask = reduce(int.__or__, (self.mask << (shift - moved[0]) for shift in moved))
        # Trailing zeros would make the span too long.
        zeros = (mask & -mask).bit_length() - 1
        return AxisField(mask >> zeros, self.start + moved[0] + zeros, jump)

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> AxisField:
        """Apply a convolution or pooling: feature i sees i * stride - padding + t * dilation, t = 0 to kernel - 1."""
        return self.seen_through(((t * dilation - padding) * self.jump for t in range(kernel)), self.jump * stride)

    def transposed(self, kernel: int, stride: int, padding: int) -> AxisField:
        """Apply a transposed convolution: the fields of all phases are combined."""
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

    def upsampled(self, factor: int, bilinear: bool) -> AxisField:
        """Apply upsampling (bilinear: align_corners=False)."""
        jump = self.jump // factor
        shifts = []
        for phase in range(factor):
            first = (2 * phase + 1 - factor) // (2 * factor) if bilinear else 0
            for neighbour in (first, first + 1) if bilinear and factor > 1 else (first,):
                shifts.append(neighbour * self.jump - phase * jump)
        return self.seen_through(shifts, jump)

    def combined(self, other: AxisField) -> AxisField:
        """Combine two branches whose features have the same spacing."""
        start = min(self.start, other.start)
        mask = (self.mask << (self.start - start)) | (other.mask << (other.start - start))
        return AxisField(mask, start, max(self.jump, other.jump))


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels that a feature depends on, by axis."""

    height: AxisField
    width: AxisField


class ReceptiveFieldTracker(TorchDispatchMode):
    """Tracks the receptive field of each tensor inside the context: `of(tensor)`; None means the whole image."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._fields: Any = WeakTensorKeyDictionary()
        self._fields[images] = ReceptiveField(AxisField(), AxisField())

    def of(self, tensor: Tensor) -> ReceptiveField | None:
        return self._fields.get(tensor)

    def set(self, tensor: Tensor, field: ReceptiveField | None) -> None:
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
    tensors = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += _tensors(value)
    return tensors


def _elementwise(tracker: ReceptiveFieldTracker, inputs: list[Tensor], args: Any, out: Any) -> ReceptiveField | None:
    """Combine the inputs of an operation that keeps the image size; any other one may have mixed all pixels."""
    fields = [tracker.of(tensor) for tensor in inputs]
    first = _tensors([out])[0]
    in_place = all(x.dim() > 3 and x.shape[-2:] == first.shape[-2:] for x in inputs) and first.dim() > 3
    if not in_place or any(field is None for field in fields):
        return None
    known = [field for field in fields if field is not None]
    return ReceptiveField(
        reduce(AxisField.combined, (field.height for field in known)),
        reduce(AxisField.combined, (field.width for field in known)),
    )


def _rule_per_axis(change: Callable[..., tuple[AxisField, AxisField]]) -> Callable[..., ReceptiveField | None]:
    """Make a rule from a function of the two axes of the first tensor."""

    def rule(tracker: ReceptiveFieldTracker, inputs: list[Tensor], args: Any, out: Any) -> ReceptiveField | None:
        field = tracker.of(args[0])
        return None if field is None else ReceptiveField(*change(field, args, out))

    return rule


def _pair(values: Any, default: int = 1) -> tuple[int, int]:
    values = list(values) if isinstance(values, list | tuple) else [values]
    return (values[0], values[-1]) if values else (default, default)


@_rule_per_axis
def _convolution(field: ReceptiveField, args: Any, out: Tensor) -> tuple[AxisField, AxisField]:
    _, weight, _, stride, padding, dilation, transposed = args[:7]
    if weight.dim() == 3:  # a 1d convolution: used only on features without pixels
        return field.height, field.width
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    kh, kw = weight.shape[2:]
    if transposed:
        return field.height.transposed(kh, sh, ph), field.width.transposed(kw, sw, pw)
    return field.height.window(kh, sh, ph, dh), field.width.window(kw, sw, pw, dw)


@_rule_per_axis
def _pool(field: ReceptiveField, args: Any, out: Any) -> tuple[AxisField, AxisField]:
    kernel = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
    padding = _pair(args[3]) if len(args) > 3 else (0, 0)
    # Of an average pooling the next argument is ceil_mode.
    dilation = _pair(args[4]) if len(args) > 4 and not isinstance(args[4], bool) else (1, 1)
    down, across = zip(kernel, stride, padding, dilation, strict=True)
    return field.height.window(*down), field.width.window(*across)


def _adaptive(tracker: ReceptiveFieldTracker, inputs: list[Tensor], args: Any, out: Tensor) -> ReceptiveField | None:
    """Apply adaptive pooling: the identity for an equal size, a pooling for a divisor; other windows differ in size."""
    field, before, after = tracker.of(args[0]), args[0].shape[-2:], out.shape[-2:]
    if field is None or 1 in after or any(b % a for b, a in zip(before, after, strict=True)):
        return field if before == after else None
    kh, kw = (b // a for b, a in zip(before, after, strict=True))
    return ReceptiveField(field.height.window(kh, kh), field.width.window(kw, kw))


@_rule_per_axis
def _pad(field: ReceptiveField, args: Any, out: Tensor) -> tuple[AxisField, AxisField]:
    sides = [*args[1], 0, 0, 0, 0]
    return field.height.window(1, padding=sides[2]), field.width.window(1, padding=sides[0])


def _slice(tracker: ReceptiveFieldTracker, inputs: list[Tensor], args: Any, out: Tensor) -> ReceptiveField | None:
    x, dim = args[0], args[1] if len(args) > 1 else 0
    start, step = (args[2] or 0) if len(args) > 2 else 0, args[4] if len(args) > 4 else 1
    field, axis = tracker.of(x), dim % x.dim() - x.dim()
    if field is None or axis < -2 or x.dim() < 4:
        return field
    line = field.height if axis == -2 else field.width
    moved = line.window(1, step, -start)
    return ReceptiveField(moved, field.width) if axis == -2 else ReceptiveField(field.height, moved)


def _upsample(bilinear: bool) -> Callable[..., ReceptiveField | None]:
    @_rule_per_axis
    def rule(field: ReceptiveField, args: Any, out: Tensor) -> tuple[AxisField, AxisField]:
        factors = [new // old for new, old in zip(out.shape[-2:], args[0].shape[-2:], strict=True)]
        return field.height.upsampled(factors[0], bilinear), field.width.upsampled(factors[1], bilinear)

    return rule


_RULES: dict[Any, Callable[..., ReceptiveField | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pool,
    aten.avg_pool2d: _pool,
    aten._adaptive_avg_pool2d: _adaptive,
    aten.constant_pad_nd: _pad,
    aten.slice: _slice,
    aten.upsample_nearest2d: _upsample(False),
    aten.upsample_bilinear2d: _upsample(True),
}
