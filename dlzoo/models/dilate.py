"""Dilation in the place of strides: the same weights, and finer feature maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError, first_line
from dlzoo.layers.ceil_mode import cover_all, loses_pixels
from dlzoo.layers.pool import DilatedAvgPool, DilatedMaxPool, pair
from dlzoo.models.feature_maps import FeatureNetwork
from dlzoo.models.meta import copy_to_meta
from dlzoo.models.residual import PadShortcut

#: The layers that have a stride.
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, PadShortcut)


class Axis(NamedTuple):
    """What becomes of a layer along the height or the width: its stride, and the factor of its dilation."""

    stride: int
    factor: int


def dilate(network: nn.Module, image: Tensor, output_stride: int) -> None:
    """Make `network` compute its feature maps beyond `output_stride` at that stride.

    A stride that would go beyond it becomes 1, and later kernels are dilated by the strides that their input lost
    (arXiv:1706.05587, section 3.1), so that the strided layer itself keeps the dilation before it, as in torchvision's
    ResNet. No weight changes; of a feature map that had stride s, every (s / output_stride)-th pixel has the same value
    as before.

    Args:
        network: a network whose poolings and strides round up (layers.ceil_mode.round_up); it is changed.
        image: as of models.meta.odd_image.

    Raises:
        UserError: if it upsamples feature maps, or has some whose strides are unknown.
    """
    for path, strides in _input_strides(network, image, output_stride).items():
        module: Any = network.get_submodule(path)
        down, across = (
            Axis(max(1, min(own, output_stride // stride)), max(1, stride // output_stride))
            for own, stride in zip(pair(module.stride), strides, strict=True)
        )
        if (down.factor, across.factor) != (1, 1) and isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            _dilate_pool(network, path, module, (down.factor, across.factor))
            continue
        module.stride = (down.stride, across.stride)
        if isinstance(module, nn.Conv2d):
            kernel, dilation = pair(module.kernel_size), pair(module.dilation)
            factors = [axis.factor if size > 1 else 1 for axis, size in zip((down, across), kernel, strict=True)]
            module.dilation = (dilation[0] * factors[0], dilation[1] * factors[1])
            if not isinstance(module.padding, str):  # "same" follows the dilation
                padding = pair(module.padding)
                module.padding = (padding[0] * factors[0], padding[1] * factors[1])


def _dilate_pool(network: nn.Module, path: str, pool: nn.MaxPool2d | nn.AvgPool2d, factors: tuple[int, int]) -> None:
    """Replace a pooling by a dilated one of stride 1."""
    dilated = DilatedMaxPool(pool, factors) if isinstance(pool, nn.MaxPool2d) else DilatedAvgPool(pool, factors)
    if loses_pixels(pool):
        cover_all(dilated)
    network.set_submodule(path, dilated)


def _input_strides(network: nn.Module, image: Tensor, output_stride: int) -> dict[str, tuple[int, int]]:
    """Return path -> the stride of the feature maps that a layer takes, of layers to be changed.

    Along the height and the width, which differ between the two halves of a separable convolution.
    """
    copy, strides = copy_to_meta(network).eval(), dict[str, tuple[int, int]]()
    for path, module in _leaves(copy):
        if isinstance(module, _STRIDED):
            # Before the hooks of round_up, which enlarge what some layers take.
            note = partial(_note, strides, path, image.shape[-1] - 1, output_stride)
            module.register_forward_pre_hook(note, prepend=True)
        module.register_forward_hook(partial(_refuse_upsampling, path, image.shape[-1] - 1, output_stride))
    try:
        for _ in copy.feature_maps(image) if isinstance(copy, FeatureNetwork) else [copy(image)]:
            pass
    except (RuntimeError, ValueError) as error:
        raise refusal(output_stride, first_line(error)) from error
    return strides


def refusal(output_stride: int, why: str) -> UserError:
    """Return the error that a backbone cannot be dilated."""
    return UserError(
        f"the strides of the backbone beyond {output_stride} cannot become dilations ({why}); choose one without"
        " branches of several sizes, such as resnet50"
    )


def _leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in network.named_modules():
        if isinstance(module, _STRIDED) or next(module.children(), None) is None:
            yield path, module


def _note(
    strides: dict[str, tuple[int, int]], path: str, side: int, output_stride: int, module: Any, inputs: Any
) -> None:
    """Note the stride of what a layer takes, of images of `side` + 1 px, if the layer is to be changed."""
    own = pair(module.stride)
    kernel = pair(getattr(module, "kernel_size", 1))
    if (own == kernel == (1, 1)) or 1 in inputs[0].shape[2:]:
        return  # a vector, or a pixel by itself
    if any(side % (size - 1) for size in inputs[0].shape[2:]):
        raise refusal(output_stride, f"the stride of what {path} takes is unknown")
    down, across = (side // (size - 1) for size in inputs[0].shape[2:])
    if max(down * own[0], across * own[1]) > output_stride:
        strides[path] = (down, across)


def _refuse_upsampling(path: str, side: int, output_stride: int, module: nn.Module, inputs: Any, output: Any) -> None:
    """Refuse a layer whose output is larger than its input, which had lost strides."""
    before = next((x for x in inputs if isinstance(x, Tensor) and x.dim() == 4), None)
    if before is None or not isinstance(output, Tensor) or output.dim() != 4 or before.shape[-1] == 1:
        return
    if output.shape[-1] > before.shape[-1] and side // (before.shape[-1] - 1) > output_stride:
        raise refusal(output_stride, f"{path} upsamples feature maps")


def check_strides(maps: list[Tensor], strides: list[int], image: Tensor, output_stride: int) -> None:
    """Check that each feature map has the stride that it had, or the output stride where that is less.

    Raises:
        UserError: if one has another.
    """
    side = image.shape[-1] - 1
    for x, stride in zip(maps, strides, strict=True):
        if torch.Size([side // min(stride, output_stride) + 1] * 2) != x.shape[2:]:
            raise refusal(output_stride, f"the feature map at stride {stride} has another size then")
