"""A classifier of the zoo as the backbone of a detector: its maps, and not its answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.layers.ceil_mode import round_up
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_info import Survey, Tap, blocks

#: The most channels of maps beyond the classifier's own.
WIDEST = 512


class Enough(Exception):  # noqa: N818 - nothing went wrong
    """All maps are there, and what the classifier would do with them is of no use."""


class Backbone(nn.Module):
    """Images (N, in_channels, H, W) -> their maps at the strides of `select`, fine to coarse.

    A map at stride s has ceil(H / s) pixels (layers.round_up): poolings round up, as in torchvision's SSD300, whose 75
    pixels become 38. The network loses its last pooling and its head, and with `select` what else the maps do not need.

    Args:
        network: a classifier of BACKBONES; it is changed.
        in_channels: of the images.
        image_size: pixels a side of the images that it was built for; others will do.
    """

    def __init__(self, network: nn.Module, *, in_channels: int, image_size: int) -> None:
        super().__init__()
        # The names that these parts have in every classifier of the zoo.
        vector = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for name, instead in (("pool", vector), ("drop", nn.Identity()), ("head", nn.Identity())):
            if hasattr(network, name):
                setattr(network, name, instead)
        round_up(network)
        self.network, self.deeper = network, nn.ModuleList()
        self._images = in_channels, image_size
        self._maps: dict[int, Tensor] = {}
        self._taps, self._chosen = 0, []

    def select(self, strides: Sequence[int], parts: Parts) -> list[int]:
        """From now on give the last map at each of `strides` (ascending); their channels. To be called once.

        Maps are taken between the blocks of the network, never inside one. Strides beyond its own come from 3x3
        convolutions with stride 2, of twice the channels and at most 512. Blocks that begin when all maps are there are
        removed, auxiliary classifiers too; what else has no influence on the maps does not learn.

        Raises:
            UserError: for a stride that the network jumps over, and for a network whose maps cannot serve.
        """
        survey = Survey(self.network, *self._images)
        own = sorted(survey.taps)
        channels = {stride: survey.taps[stride].map.shape[1] for stride in own}
        stride = own[-1]
        while stride < max(strides):
            channels[2 * stride] = min(2 * channels[stride], WIDEST)
            self.deeper.append(ConvNormAct(channels[stride], channels[2 * stride], 3, parts, stride=2))
            stride *= 2
        for wanted in strides:
            if wanted not in channels:
                raise UserError(f"the backbone has no maps at stride {wanted}, but at {', '.join(map(str, channels))}")
        used = [stride for stride in channels if stride in strides or (self.deeper and stride >= own[-1])]
        self._chosen = [used.index(stride) for stride in strides]
        self._tap([survey.taps[stride] for stride in used if stride in survey.taps], survey)
        return [channels[stride] for stride in strides]

    def forward(self, images: Tensor) -> list[Tensor]:
        try:
            self.network(images)
        except Enough:
            pass
        finally:
            # The network must not hold on to them: it could not be copied.
            kept, self._maps = self._maps, {}
        maps = [kept[level] for level in range(self._taps)]
        for layer in self.deeper:
            maps.append(layer(maps[-1]))
        return [maps[level] for level in self._chosen]

    def _tap(self, taps: list[Tap], survey: Survey) -> None:
        """Keep these maps in every forward pass, end it when all are there, and remove what would come after."""
        for path in survey.without_influence(tap.map for tap in taps):
            self.network.get_parameter(path).requires_grad_(False)
        last = max(tap.moment for tap in taps)
        for path, _ in list(blocks(self.network, whole=True)):
            if survey.begins.get(path, last) >= last:
                self.network.set_submodule(path, nn.Identity())
        self._taps = len(taps)
        for level, tap in enumerate(taps):
            block = self.network.get_submodule(tap.path)
            # Partials of bound methods, unlike closures, belong to the copy in a copy of the network.
            if tap.given:
                block.register_forward_pre_hook(partial(self._keep_given, level))
            else:
                block.register_forward_hook(partial(self._keep, level))

    def _keep(self, level: int, block: nn.Module, given: Any, output: Tensor) -> None:
        self._maps[level] = output
        if len(self._maps) == self._taps:
            raise Enough

    def _keep_given(self, level: int, block: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._keep(level, block, None, given[0])
