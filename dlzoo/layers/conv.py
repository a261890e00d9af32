"""Convolution (or linear layer), normalisation and activation as one block."""

from __future__ import annotations

from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.protocols import ReplacesBias, Scaled, follows_activation
from dlzoo.layers.convs import conv2d
from dlzoo.layers.norm import NoNorm
from dlzoo.layers.parts import Parts


class Block(nn.Module):
    """Base class of blocks that apply a norm, an activation and dropout."""

    norm: nn.Module
    act: nn.Module
    drop: nn.Module
    #: Whether the activation comes before the norm.
    act_first: bool
    #: Whether dropout comes before the norm, and not after the activation.
    drop_first: bool

    def _set_order(self, parts: Parts) -> None:
        """Set where activation and dropout go, as the norm and drop.place require."""
        self.act_first, self.drop_first = follows_activation(self.norm), parts.drop_before_norm

    def finish(self, x: Tensor) -> Tensor:
        """Apply norm, activation and dropout, in the order that the norm and drop.place require."""
        x = self.drop(x) if self.drop_first else x
        x = self.norm(self.act(x)) if self.act_first else self.act(self.norm(x))
        return x if self.drop_first else self.drop(x)


class ConvNormAct(Block):
    """Convolution, norm if `norm`, activation if `act`: (N, in_channels, H, W) -> (N, out_channels, H', W').

    The convolution is of the kind that the user chose (`conv=separable`), except for 1x1 kernels, groups, `fixed`, or a
    given `padding`; it keeps the size at stride 1. It has a bias only if no norm replaces it; `bias` overrides this.
    `valid` and the `size` of the feature maps are as in Parts.conv. `drop` adds the chosen dropout, after the
    activation or before the norm. LRN comes after the activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        parts: Parts,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
        bias: bool | None = None,
        drop: bool = False,
        padding: int | None = None,
        fixed: bool = False,
        valid: bool = False,
        size: int | None = None,
    ) -> None:
        super().__init__()
        norm_layer = parts.norm(out_channels) if norm else NoNorm(out_channels)
        bias = needs_bias(norm_layer) if bias is None else bias
        self.conv: nn.Module
        if padding is not None:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)
        elif groups > 1 or kernel_size == 1 or fixed:
            self.conv = conv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias)
        else:
            place = {"stride": stride, "bias": bias, "valid": valid, "size": size}
            self.conv = parts.conv(in_channels, out_channels, kernel_size, **place)
        self.norm = norm_layer
        self.act = parts.act() if act else nn.Identity()
        self.drop = parts.drop() if drop else nn.Identity()
        self._set_order(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.conv(x))

    def zero_norm_(self) -> None:
        """Set the norm's scale to zero, and so the output of a residual branch that ends here.

        Raises:
            UserError: if the norm has no scale.
        """
        if not isinstance(self.norm, Scaled):
            raise UserError(f"init.zero_last_norm needs a norm with a scale: {type(self.norm).__name__} has none")
        self.norm.zero_()


class NormAct(Block):
    """Norm and activation, and with `drop` the chosen dropout: (N, channels, H, W) -> the same shape."""

    def __init__(self, channels: int, parts: Parts, *, drop: bool = False) -> None:
        super().__init__()
        self.norm, self.act = parts.norm(channels), parts.act()
        self.drop = parts.drop() if drop else nn.Identity()
        self._set_order(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x)


class NormActConv(NormAct):
    """Norm, activation, convolution (pre-activation): (N, in_channels, H, W) -> (N, out_channels, H', W').

    Kinds of convolution and `drop` are as in ConvNormAct.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        parts: Parts,
        *,
        stride: int = 1,
        drop: bool = False,
    ) -> None:
        super().__init__(in_channels, parts, drop=drop)
        make = parts.conv if kernel_size > 1 else conv2d
        self.conv = make(in_channels, out_channels, kernel_size, stride=stride, bias=needs_bias(self.norm))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(super().forward(x))


def needs_bias(norm: nn.Module) -> bool:
    """Return whether a layer before `norm` needs a bias; before a norm that does not say, it needs none."""
    return isinstance(norm, ReplacesBias) and not norm.replaces_bias


class LinearNormAct(Block):
    """Linear layer, norm, activation, and dropout as in ConvNormAct: (N, in_features) -> (N, out_features)."""

    def __init__(self, in_features: int, out_features: int, parts: Parts) -> None:
        super().__init__()
        norm = parts.norm(out_features)
        self.linear = nn.Linear(in_features, out_features, bias=needs_bias(norm))
        self.norm = norm
        self.act = parts.act()
        self.drop = parts.drop(maps=False)
        self._set_order(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.linear(x))
