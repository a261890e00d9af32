"""Feature pyramids: fusion from coarse to fine feature maps (FPN), and back (PAN)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from dlzoo.core.registries import NECKS
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.neck import NeckSettings, UpsampleLike, conv_norm_act, conv_set, merge, pyramid_block
from dlzoo.layers.parts import Parts


def plain_conv(in_channels: int, out_channels: int, kernel_size: int, parts: Parts) -> nn.Module:
    """Return a convolution with a bias, without norm and activation."""
    return ConvNormAct(in_channels, out_channels, kernel_size, parts, norm=False, act=False)


@NECKS.register("fpn", source="arXiv:1612.03144, section 3; concat: arXiv:1804.02767, section 2.3")
class FPN(nn.Module):
    """Top-down: P(i) = convs(M(i)), M(i) = lateral(C(i)) + upsampled M(i+1); concat: [C(i), upsampled P(i+1)]

    merge=add: lateral 1x1 convolutions bring all feature maps to their width, and the sums M are upsampled.
    merge=concat: the outputs P are upsampled, as in YOLOv3, where depth is 5 and width null; `lateral` adds the lateral
    1x1 convolutions of the finer levels here too, as in YOLOv4. `plain` convolutions have a bias, no norm and no
    activation, as in Faster R-CNN and RetinaNet.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        parts: Parts,
        settings: NeckSettings,
        plain: bool = False,
        lateral: bool = False,
    ) -> None:
        super().__init__()
        conv = plain_conv if plain else conv_norm_act
        self.settings, self.adds = settings, settings.merge == "add"
        self.out_channels = widths = settings.widths(channels)
        self.laterals, self.convs = nn.ModuleList(), nn.ModuleList()
        for before, width in zip(channels[:-1], widths[:-1], strict=True):
            narrow = self.adds or lateral
            self.laterals.append(conv(before, width, 1, parts) if narrow else nn.Identity())
            merged = settings.merged(width, 2) if narrow else before + width
            self.convs.append(conv_set(merged, width, settings, parts, conv))
        before, width = channels[-1], widths[-1]
        if settings.spp:
            self.laterals.append(pyramid_block(before, width, parts, conv))
        else:
            self.laterals.append(conv(before, width, 1, parts) if self.adds else nn.Identity())
        if self.adds or not settings.spp:
            self.convs.append(conv_set(width if self.adds else before, width, settings, parts, conv))
        else:
            self.convs.append(nn.Identity())  # as in YOLOv4, the convolutions around the SPP are those of this level
        self.enlarge = nn.ModuleList(UpsampleLike(coarse, fine, parts, conv) for fine, coarse in pairwise(widths))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        merged = self.laterals[-1](features[-1])
        outputs = [self.convs[-1](merged)]
        for level in reversed(range(len(features) - 1)):
            lateral = self.laterals[level](features[level])
            merged = merge(self.settings, lateral, self.enlarge[level](merged if self.adds else outputs[0], lateral))
            outputs.insert(0, self.convs[level](merged))
        return outputs


@NECKS.register("pan", source="arXiv:1803.01534, section 3.1; concat: arXiv:2004.10934, section 3.4")
class PAN(nn.Module):
    """FPN, then bottom-up: N(i+1) = convs(3x3 with stride 2 of N(i) + P(i+1)), or their concatenation"""

    def __init__(self, *, channels: tuple[int, ...], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()
        self.settings = settings
        self.top_down = FPN(channels=channels, parts=parts, settings=settings, lateral=True)
        self.out_channels = widths = self.top_down.out_channels
        self.shrink = nn.ModuleList(ConvNormAct(fine, coarse, 3, parts, stride=2) for fine, coarse in pairwise(widths))
        self.convs = nn.ModuleList(conv_set(settings.merged(width, 2), width, settings, parts) for width in widths[1:])

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        outputs = self.top_down(features)
        for level, (shrink, convs) in enumerate(zip(self.shrink, self.convs, strict=True), 1):
            outputs[level] = convs(merge(self.settings, shrink(outputs[level - 1]), outputs[level]))
        return outputs
