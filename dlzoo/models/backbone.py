"""A classifier as the backbone of a detector: its feature maps, and not its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError, first_line
from dlzoo.layers.ceil_mode import round_up
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_info import HookedFeatures
from dlzoo.models.feature_maps import FeatureNetwork, Stage
from dlzoo.models.meta import ShapesOnly, copy_to_meta, odd_image, unused_parameters

#: The most channels of feature maps beyond the classifier's own.
WIDEST = 512


class Backbone(nn.Module):
    """Images (N, in_channels, H, W) -> their feature maps at the strides of `select`, fine to coarse.

    A feature map at stride s has ceil(H / s) pixels (layers.round_up): poolings round up, as in torchvision's SSD300,
    whose 75 pixels become 38. With `select` the network loses what the feature maps do not need, its head among it.

    Args:
        network: a classifier of BACKBONES; it is changed. The feature maps of one that does not name them
            (models.feature_maps.FeatureNetwork) are found by hooks.
        in_channels: of the images.
        image_size: pixels a side of the images that it was built for; others will do.
    """

    _feature_maps: Callable[[Tensor], Iterator[Tensor]]

    def __init__(self, network: nn.Module, *, in_channels: int, image_size: int) -> None:
        super().__init__()
        round_up(network)
        self.network, self.deeper = network, nn.ModuleList()
        self._images = in_channels, image_size
        self._stages: list[Stage] = []
        self._own, self._strides = 0, []

    def select(self, strides: Sequence[int], parts: Parts) -> list[int]:
        """Choose the feature maps at `strides` (ascending) and return their channels. To be called once.

        Strides beyond the network's own come from 3x3 convolutions with stride 2, of twice the channels and at most
        512. Blocks after the last feature map are removed, auxiliary classifiers too. Parameters that do not affect the
        selected feature maps are frozen.

        Raises:
            UserError: for a stride that the network does not have, and for a network without feature maps.
        """
        features = self._features()
        channels = dict(sorted((stage.stride, stage.channels) for stage in features.feature_stages))
        stride = self._own = max(channels)
        while stride < max(strides):
            channels[2 * stride] = min(2 * channels[stride], WIDEST)
            self.deeper.append(ConvNormAct(channels[stride], channels[2 * stride], 3, parts, stride=2))
            stride *= 2
        for requested in strides:
            if requested not in channels:
                known = ", ".join(map(str, channels))
                raise UserError(f"the backbone has no feature maps at stride {requested}, but at {known}")
        needed = {*strides, self._own} if self.deeper else {*strides}
        last = max(index for index, stage in enumerate(features.feature_stages) if stage.stride in needed)
        self._stages, self._strides = features.feature_stages[: last + 1], list(strides)
        self._feature_maps = features.feature_maps
        features.remove_after(self._stages[-1])
        self._freeze_unused()
        return [channels[stride] for stride in strides]

    def forward(self, images: Tensor) -> list[Tensor]:
        # zip asks `_stages` first, so nothing is computed after the last one.
        pairs = zip(self._stages, self._feature_maps(images), strict=False)
        maps = {stage.stride: x for stage, x in pairs if stage.stride in self._strides or stage.stride == self._own}
        stride = self._own
        for layer in self.deeper:
            maps[2 * stride] = layer(maps[stride])
            stride *= 2
        return [maps[stride] for stride in self._strides]

    def _features(self) -> FeatureNetwork:
        """Return the network itself if it names its feature maps, else what finds them."""
        network = self.network
        return network if isinstance(network, FeatureNetwork) else HookedFeatures(network, *self._images)

    def _freeze_unused(self) -> None:
        """Freeze the parameters that no selected feature map depends on."""
        image, copy = odd_image(*self._images), copy_to_meta(self).eval()
        try:
            with torch.enable_grad(), ShapesOnly():
                maps = copy(image)
        except RuntimeError as error:
            size = image.shape[-1]
            raise UserError(f"the backbone cannot work on images of {size} px: {first_line(error)}") from error
        for path in unused_parameters(copy.network, maps):
            self.network.get_parameter(path).requires_grad_(False)
