"""Find the feature maps of third-party networks with hooks.

The classifiers of this package name their own (models.feature_maps).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError, first_line
from dlzoo.models.feature_maps import Stage
from dlzoo.models.meta import ShapesOnly, copy_to_meta, odd_image


class FeaturesReady(Exception):  # noqa: N818 - nothing went wrong
    """Every selected feature map has been computed; the rest of the forward pass is skipped."""


class Call(NamedTuple):
    """The input or the output of one call of a module.

    Attributes:
        path: of the module.
        is_input: whether `value` is its input, and not its output.
        value: usually a tensor, on the meta device.
        version: of the tensor; operations in place make a new one.
    """

    path: str
    is_input: bool
    value: Any
    version: int


class FeatureMap(NamedTuple):
    """A feature map, and where a hook finds it.

    Attributes:
        stage: named by the block.
        is_input: whether it is the block's input, because no block returns it.
        time: when it is computed; comparable with `FeatureInfo.blocks`.
        channels_last: whether it is (N, H, W, channels).
    """

    stage: Stage
    is_input: bool
    time: int
    channels_last: bool


class FeatureInfo:
    """The feature maps between the blocks of a network, found by a pass on the meta device.

    Blocks are the children of the network. Sequences, lists, and modules that take a feature map and return something
    else (as the body of a classifier does) are not blocks; their children are.

    Args:
        network: stays as it is. Its poolings and strides are expected to round up (layers.round_up).
        in_channels: of its images.
        image_size: pixels a side of its images.

    Attributes:
        feature_maps: the last one at each stride, in the order in which they are computed.
        blocks: path of a block -> when it is called first, None if never.

    Raises:
        UserError: if there are no feature maps, or the network cannot work on images of another size.
    """

    def __init__(self, network: nn.Module, in_channels: int, image_size: int) -> None:
        image = odd_image(in_channels, image_size)
        copy, calls = copy_to_meta(network).eval(), []
        for path, module in copy.named_modules():
            # Before the hooks of layers.round_up, which enlarge what some blocks take.
            module.register_forward_pre_hook(partial(_note_input, calls, path), prepend=True)
            module.register_forward_hook(partial(_note_output, calls, path))
        try:
            with torch.enable_grad(), ShapesOnly():
                copy(image)
        except Exception as error:  # whatever code from elsewhere raises
            raise UserError(
                f"the backbone cannot work on images of {image.shape[-1]} px ({first_line(error)}); choose a"
                " convolutional network, such as resnet18, which takes images of any size"
            ) from error
        times: dict[str, list[int]] = {path: [] for path, _ in copy.named_modules()}
        for time, call in enumerate(calls):
            times[call.path].append(time)
        opened = {path for path, of_module in times.items() if _returns_something_else([calls[t] for t in of_module])}
        paths = dict(_blocks(copy, opened))
        self.blocks = {path: min(times[path], default=None) for path, is_block in paths.items() if is_block}
        # A hook cannot tell the calls of a block that runs twice apart.
        once = {path for path in paths if len(times[path]) == 2}
        self.feature_maps = _last_at_each_stride(calls, once, image)
        if not self.feature_maps:
            raise UserError(
                "the backbone has no feature maps at strides 2, 4, 8, ...; choose a convolutional network, such as"
                " resnet18"
            )


class HookedFeatures:
    """Wrap any network as a FeatureNetwork: hooks collect its feature maps, and an exception ends the pass.

    Call `remove_after` before `feature_maps`, which computes all that are left at once and stops after the last one.

    Args:
        network: it is changed by `remove_after`.
        in_channels: of its images.
        image_size: pixels a side of its images.

    Raises:
        UserError: as FeatureInfo.
    """

    def __init__(self, network: nn.Module, in_channels: int, image_size: int) -> None:
        self.network = network
        self._info = FeatureInfo(network, in_channels, image_size)
        self.feature_stages = [feature_map.stage for feature_map in self._info.feature_maps]
        self._num_maps = 0
        self._kept: dict[int, Tensor] = {}

    def feature_maps(self, images: Tensor) -> Iterator[Tensor]:
        try:
            self.network(images)
        except FeaturesReady:
            pass
        finally:
            # Nothing must hold on to them: a network that did could not be copied.
            kept, self._kept = self._kept, {}
        return iter([kept[index] for index in range(self._num_maps)])

    def remove_after(self, stage: Stage) -> None:
        """Replace by nn.Identity all blocks that are called later, or never; set the hooks."""
        index = self.feature_stages.index(stage)
        last = self._info.feature_maps[index]
        for path, begins in self._info.blocks.items():
            if begins is None or begins >= last.time:
                self.network.set_submodule(path, nn.Identity())
        self._num_maps = index + 1
        for level, feature_map in enumerate(self._info.feature_maps[: self._num_maps]):
            block = self.network.get_submodule(feature_map.stage.name)
            # Partials of bound methods, unlike closures, belong to the copy in a copy of the network.
            if feature_map.is_input:
                block.register_forward_pre_hook(
                    partial(self._keep_input, level, feature_map.channels_last), prepend=True
                )
            else:
                block.register_forward_hook(partial(self._keep, level, feature_map.channels_last))

    def _keep(self, level: int, channels_last: bool, block: nn.Module, inputs: Any, output: Tensor) -> None:
        self._kept[level] = output.permute(0, 3, 1, 2) if channels_last else output
        if len(self._kept) == self._num_maps:
            raise FeaturesReady

    def _keep_input(self, level: int, channels_last: bool, block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._keep(level, channels_last, block, None, inputs[0])


def _note_input(calls: list[Call], path: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    _note(calls, path, True, inputs[0] if inputs else None)


def _note_output(calls: list[Call], path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    _note(calls, path, False, output)


def _note(calls: list[Call], path: str, is_input: bool, value: Any) -> None:
    calls.append(Call(path, is_input, value, value._version if isinstance(value, Tensor) else 0))


def _returns_something_else(calls: list[Call]) -> bool:
    """Return whether a module takes an image or a feature map and does not return a feature map."""
    input, output = (next((call.value for call in calls if call.is_input is kind), None) for kind in (True, False))
    return isinstance(input, Tensor) and input.dim() == 4 and not (isinstance(output, Tensor) and output.dim() == 4)


def _blocks(network: nn.Module, opened: set[str], path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield (path, is_block) of the blocks of a network, and of the sequences and modules that contain them."""
    for name, child in network.named_children():
        is_open = isinstance(child, nn.Sequential | nn.ModuleList) or (
            path + name in opened and any(True for _ in child.children())
        )
        if is_open:
            yield from _blocks(child, opened, f"{path}{name}.")
        # A sequence may do more than its blocks: what it returns can be a feature map of its own.
        yield path + name, not is_open


def _last_at_each_stride(calls: list[Call], paths: set[str], image: Tensor) -> list[FeatureMap]:
    """Return the last feature map at each stride among the inputs and outputs of the modules at `paths`."""
    feature_maps: dict[int, FeatureMap] = {}
    # What one block returns another takes: it is the same feature map, unless it was changed in place.
    known = {id(image): image._version}
    for time, call in enumerate(calls):
        if call.path not in paths or not isinstance(call.value, Tensor) or known.get(id(call.value)) == call.version:
            continue
        known[id(call.value)] = call.version
        place = _place(call.value, image.shape[-1] - 1)
        if place:
            stride, channels, channels_last = place
            stage = Stage(call.path, stride, channels)
            feature_maps.pop(stride, None)  # so that the order is that of their times
            feature_maps[stride] = FeatureMap(stage, call.is_input, time, channels_last)
    return list(feature_maps.values())


def _place(value: Tensor, side: int) -> tuple[int, int, bool] | None:
    """Return (stride, channels, channels_last) of a feature map of images of `side` + 1 px; None for other values."""
    for channels_last, dims in ((False, (1, 2, 3)), (True, (3, 1, 2))):
        if value.dim() == 4:
            channels, height, width = (value.shape[dim] for dim in dims)
            if height == width > 1 and side % (height - 1) == 0:
                return side // (height - 1), channels, channels_last
    return None
