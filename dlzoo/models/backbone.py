"""A classifier as the backbone of another network: its feature maps, and not its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.protocols import normalisation_of, notes_of
from dlzoo.layers.ceil_mode import round_up
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.dilate import check_strides, dilate, refusal
from dlzoo.models.feature_info import HookedFeatures
from dlzoo.models.feature_maps import FeatureNetwork, PoolsStages, Stage
from dlzoo.models.meta import odd_image, unused_parameters

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
        self._output_stride: int | None = None

    def strides(self) -> list[int]:
        """Return the strides of the network's feature maps, ascending.

        Raises:
            UserError: for a network without feature maps.
        """
        return sorted({stage.stride for stage in self._features().feature_stages})

    def select(self, strides: Sequence[int], parts: Parts, *, output_stride: int | None = None) -> list[int]:
        """Choose the feature maps at `strides` (ascending) and return their channels. To be called once.

        With `output_stride`, feature maps whose own stride is larger have this one: strides become dilations
        (models.dilate), and `strides` are those before.

        Strides beyond the network's own come from 3x3 convolutions with stride 2, of twice the channels and at most
        512. Blocks after the last feature map are removed, auxiliary classifiers too. Parameters that do not affect the
        selected feature maps are frozen.

        Raises:
            UserError: for a stride that the network does not have, for a network without feature maps, and for one that
                cannot be dilated.
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
        if output_stride is not None and output_stride < max(needed):
            dilate(self.network, odd_image(*self._images), output_stride)
            self._output_stride = output_stride
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

    def load_classifier(self, state: dict[str, Tensor], origin: str) -> None:
        """Copy a classifier's weights, without those after the feature maps; call it after `select`.

        Raises:
            UserError: if they belong to another model.
        """
        expected = self.network.state_dict()
        wrong = [key for key, value in expected.items() if key not in state or state[key].shape != value.shape]
        if wrong:
            raise UserError(f"{origin}: the weights belong to another model than the backbone: {wrong[0]} does not fit")
        self.network.load_state_dict({key: state[key] for key in expected})

    @property
    def pools_stages(self) -> bool:
        """Whether feature maps are those before the poolings that follow them (models.feature_maps.PoolsStages)."""
        return isinstance(self.network, PoolsStages) and self.network.pools_stages

    def _features(self) -> FeatureNetwork:
        """Return the network itself if it names its feature maps, else what finds them."""
        network = self.network
        return network if isinstance(network, FeatureNetwork) else HookedFeatures(network, *self._images)

    def _freeze_unused(self) -> None:
        """Freeze the parameters that no selected feature map depends on."""
        image = odd_image(*self._images)
        try:
            maps, unused = unused_parameters(self, image)
        except RuntimeError as error:
            if self._output_stride is not None:
                raise refusal(self._output_stride, first_line(error)) from error
            size = image.shape[-1]
            raise UserError(f"the backbone cannot work on images of {size} px: {first_line(error)}") from error
        if self._output_stride is not None:
            check_strides(maps, self._strides, image, self._output_stride)
        for path in unused:
            self.get_parameter(path).requires_grad_(False)


class OnBackbone(nn.Module):
    """Base class of networks on the feature maps of a classifier."""

    #: The source of its feature maps; `freeze=backbone` freezes it.
    backbone: Backbone

    @property
    def normalisation(self) -> tuple[Sequence[float], Sequence[float]] | None:
        """The normalisation of images that the weights of the backbone expect, as core.protocols.Normalised."""
        return normalisation_of(self.backbone.network)

    @property
    def notes(self) -> Sequence[str]:
        """The notes of the backbone, as core.protocols.Noted."""
        return notes_of(self.backbone.network)
