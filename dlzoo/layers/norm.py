"""Normalisation layers. Every entry takes `channels` and normalises (N, C), (N, C, L) or (N, C, H, W).

A norm declares `replaces_bias` (a bias in the layer before it is redundant) and `zero_()` (set the scale to zero, to
initialise a residual branch to zero), so that no other code needs to check its class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlzoo.core.errors import UserError
from dlzoo.core.nearest import HIDDEN
from dlzoo.core.registries import NORMS
from dlzoo.core.schema import Fraction, NonNegative, Positive, PositiveInt, Size, settings_of


class AffineNorm:
    """Mixin of norms with a weight and a bias per channel."""

    weight: Any
    bias: Any
    subtracts_channel_mean = False

    @property
    def replaces_bias(self) -> bool:
        """Whether a bias before the norm is redundant: it is subtracted, or the norm has its own."""
        return self.subtracts_channel_mean or self.bias is not None

    def zero_(self) -> None:
        """Set the scale to zero, to initialise a residual branch that ends here to zero.

        Raises:
            UserError: if the norm has no scale (affine=false).
        """
        if self.weight is None:
            raise UserError("init.zero_last_norm needs a norm with a scale; set norm.affine=true")
        nn.init.zeros_(self.weight)


@NORMS.register("bn", source="arXiv:1502.03167, algorithm 1")
class BatchNorm(AffineNorm, _BatchNorm):
    """Batch normalisation: each channel over the batch and its pixels; running statistics in evaluation.

    `momentum` is torch's: running = (1 - momentum) * running + momentum * batch. The running variance is unbiased.

    Raises:
        UserError: in training with one value per channel.
    """

    subtracts_channel_mean = True

    def __init__(self, channels: int, *, affine: bool = True, eps: Positive = 1e-5, momentum: Fraction = 0.1) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions, if each channel has at least two values in training."""
        if self.training and input.numel() == input.shape[1]:
            raise UserError(
                "batch norm cannot train with one value per channel (one image, one pixel);"
                " set a larger data.batch_size, larger images, or norm=gn"
            )


@NORMS.register("gn", source="arXiv:1803.08494, equation 7")
class GroupNorm(AffineNorm, nn.GroupNorm):
    """Group normalisation: each sample over groups of channels.

    The number of groups is the largest divisor of the channels that is at most `num_groups` and leaves at least
    `min_channels` per group; with `channels_per_group`, it is the largest divisor that leaves at least that many, and
    the other two are ignored.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_groups: PositiveInt = 32,
        min_channels: PositiveInt = 8,
        channels_per_group: PositiveInt | None = None,
        affine: bool = True,
        eps: Positive = 1e-5,
    ) -> None:
        if channels_per_group is None:
            groups = divisor(channels, num_groups, min_channels)
        else:
            groups = divisor(channels, channels, channels_per_group)
        super().__init__(groups, channels, eps=eps, affine=affine)


def divisor(channels: int, num_groups: int, min_channels: int) -> int:
    """Return the largest divisor of `channels` that is <= num_groups and leaves >= min_channels per group, or 1."""
    fitting = [
        g for g in range(1, min(num_groups, channels) + 1) if channels % g == 0 and channels // g >= min_channels
    ]
    return max(fitting, default=1)


def group_notes(section: Mapping[str, Any], network: nn.Module) -> list[str]:
    """Return notes on group norms that have another number of groups than was set, or are another norm.

    Args:
        section: the norm's section of the config.
    """
    # A model without a choice of norms keeps the hidden name `default`, which has no entry.
    if section["name"] == HIDDEN or NORMS[section["name"]].builder is not GroupNorm:
        return []
    layers = sorted({(each.num_channels, each.num_groups) for each in network.modules() if isinstance(each, GroupNorm)})
    sentences, default = [], settings_of(GroupNorm)["num_groups"]["default"]
    asked, per_group = section["num_groups"], section["channels_per_group"]
    other = [f"{groups} for {channels} channels" for channels, groups in layers if groups != asked]
    if per_group is None and asked != default and other:
        least = section["min_channels"]
        sentences.append(
            f"norm.num_groups={asked}: the number of groups is {', '.join(other)}; it must divide the channels, and"
            f" leave norm.min_channels={least} in each group"
        )
    single = [str(channels) for channels, groups in layers if groups == 1 < channels]
    if single:
        sentences.append(f"norm=gn has one group in layers of {' and '.join(single)} channels, where it equals norm=ln")
    alone = [str(channels) for channels, groups in layers if groups == channels]
    if alone:
        sentences.append(
            f"norm=gn has one channel in each group in layers of {' and '.join(alone)} channels, where it equals"
            " norm=in"
        )
    return sentences


@NORMS.register("ln", source="arXiv:1607.06450; over (C, H, W) as in arXiv:1803.08494, section 3.1")
class LayerNorm(AffineNorm, nn.GroupNorm):
    """Layer normalisation: each sample over all channels and pixels, with a scale and a shift per channel."""

    def __init__(self, channels: int, *, affine: bool = True, eps: Positive = 1e-5) -> None:
        super().__init__(1, channels, eps=eps, affine=affine)


@NORMS.register("in", source="arXiv:1607.08022, equation 4")
class InstanceNorm(AffineNorm, nn.Module):
    """Instance normalisation: each channel of each sample over its pixels.

    Raises:
        UserError: for feature maps of one pixel.
    """

    subtracts_channel_mean = True

    def __init__(self, channels: int, *, affine: bool = True, eps: Positive = 1e-5) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, input: Tensor) -> Tensor:
        if input[0, 0].numel() == 1:
            raise UserError(
                "instance norm does not support feature maps of one pixel; set larger images, norm=gn or norm=ln"
            )
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, affine={self.weight is not None}"


@NORMS.register("lrn", source="Krizhevsky et al. 2012, section 3.3")
class LocalResponseNorm(nn.LocalResponseNorm):
    """Local response normalisation: each value divided by (k + alpha / size * the squares of `size` channels)^beta.

    As in the paper it comes after the activation and has no parameters. (The paper's alpha is not divided by size: its
    1e-4 is 5e-4 here, as in torch.)
    """

    replaces_bias = False
    follows_act = True

    def __init__(
        self,
        channels: int,
        *,
        size: Size = 5,
        alpha: NonNegative = 5e-4,
        beta: NonNegative = 0.75,
        k: Positive = 2.0,
    ) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == 2:  # vectors: add a pixel dimension
            return super().forward(input.unsqueeze(2)).squeeze(2)
        return super().forward(input)

    def zero_(self) -> None:
        """There is no scale to set to zero.

        Raises:
            UserError: always.
        """
        raise UserError("init.zero_last_norm needs a norm with a scale: norm=lrn has none")


@NORMS.register("none", source="no normalisation; the layer before it keeps its bias")
class NoNorm(nn.Identity):
    """The identity."""

    replaces_bias = False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def zero_(self) -> None:
        """There is no scale to set to zero.

        Raises:
            UserError: always.
        """
        raise UserError("init.zero_last_norm needs a norm with a scale: norm=none has none")
