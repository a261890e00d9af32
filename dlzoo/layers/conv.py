"""Convolution (or linear layer), normalisation and activation as one block."""

from __future__ import annotations

from torch import Tensor, nn

from dlzoo.errors import UserError
from dlzoo.layers.parts import Parts


class ConvNormAct(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H', W'): convolution, norm, and the activation if `act`.

    The convolution has a bias only where no norm replaces it.
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
        act: bool = True,
    ) -> None:
        super().__init__()
        norm = parts.norm(out_channels)
        self.conv = _conv(in_channels, out_channels, kernel_size, stride, groups, norm)
        self.norm = norm
        self.act = parts.act() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))

    def zero_norm_(self) -> None:
        """Make the output zero, by the norm's scale; for the end of a residual branch.

        Raises:
            UserError: if the norm has no scale.
        """
        zero = getattr(self.norm, "zero_", None)
        if not callable(zero):
            raise UserError(f"init.zero_last_norm: {type(self.norm).__name__} has no scale that could be zero")
        zero()


class NormActConv(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H', W'): norm, activation, convolution (pre-activation)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, parts: Parts, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.norm = parts.norm(in_channels)
        self.act = parts.act()
        self.conv = _conv(in_channels, out_channels, kernel_size, stride, groups, self.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.act(self.norm(x)))


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int, norm: nn.Module
) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; its bias follows what `norm` says of itself."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=needs_bias(norm),
    )


def needs_bias(norm: nn.Module) -> bool:
    """Whether a layer beside `norm` has a bias of its own; a plug-in's norm that does not say replaces it."""
    return not getattr(norm, "replaces_bias", True)


class LinearNormAct(nn.Module):
    """(N, in_features) -> (N, out_features): linear layer, norm, activation."""

    def __init__(self, in_features: int, out_features: int, parts: Parts) -> None:
        super().__init__()
        norm = parts.norm(out_features)
        self.linear = nn.Linear(in_features, out_features, bias=needs_bias(norm))
        self.norm = norm
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.linear(x)))
