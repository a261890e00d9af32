"""Self-attention over pixels, as residual blocks whose branch is initialised to zero.

Memory grows with the square of the number of pixels: 9.8 million attention weights per image of 56 x 56 pixels.
"""

from __future__ import annotations

from math import gcd

import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.registries import ATTENTIONS
from dlzoo.core.schema import Size
from dlzoo.layers.norm import divisor


@ATTENTIONS.register("non_local", source="arXiv:1711.07971, equations 1, 3 and 6 (embedded Gaussian)")
class NonLocal(nn.Module):
    """z = W softmax(theta(x)^T phi(x)) g(x) + x, in half the channels.

    `subsample` pools keys and values, 2 x 2 (section 3.3): a quarter of the memory.
    """

    keeps_init = True

    def __init__(self, *, channels: int, subsample: bool = False) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if subsample else nn.Identity()
        self.out = zero_init(nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(x)
        attended = attend(self.theta(x), self.phi(pooled), self.g(pooled))
        return x + self.out(attended)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q^T K) V over pixels, unscaled: (N, C, H, W), (N, C, H', W'), (N, D, H', W') -> (N, D, H, W)."""
    q, k, v = (features.flatten(2).transpose(1, 2) for features in (query, key, value))
    attended = (q @ k.transpose(1, 2)).softmax(-1) @ v
    return attended.transpose(1, 2).unflatten(2, query.shape[2:])


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Set all parameters of a layer to zero, and return it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


@ATTENTIONS.register("cgnl", source="arXiv:1810.13125, equation 10 with the dot-product kernel")
class CGNL(nn.Module):
    """Compact generalised non-local: every channel of every pixel attends to all others, in `groups` of channels.

    With a linear kernel the weights of all pairs are never computed: (theta phi^T) g = theta (phi^T g).
    """

    keeps_init = True

    def __init__(self, *, channels: int, groups: Size = 8) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.groups = divisor(gcd(inner, channels), groups, 1)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1, groups=self.groups, bias=False)
        self.norm = nn.GroupNorm(self.groups, channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = (
            layer(x).unflatten(1, (self.groups, -1)).flatten(2) for layer in (self.theta, self.phi, self.g)
        )
        weight = (phi * g).sum(2, keepdim=True) / phi.shape[2] ** 0.5
        attended = (theta * weight).unflatten(2, (-1, *x.shape[2:])).flatten(1, 2)
        return x + self.norm(self.out(attended))


@ATTENTIONS.register("self_attention", source="arXiv:1706.03762, section 3.2.2; pixels as tokens, without positions")
class SelfAttention(nn.Module):
    """Multi-head self-attention. The number of heads is the largest divisor of the channels up to `num_heads`."""

    keeps_init = True

    def __init__(self, *, channels: int, num_heads: Size = 4) -> None:
        super().__init__()
        self.num_heads = divisor(channels, num_heads, 1)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        # (N, 3 * C, H, W) -> three of (N, heads, pixels, C / heads)
        tokens = self.query_key_value(x).flatten(2).unflatten(1, (3, self.num_heads, -1)).transpose(3, 4)
        attended = F.scaled_dot_product_attention(*tokens.unbind(1))
        return x + self.out(attended.transpose(2, 3).reshape(x.shape))


class CrossLayerNonLocal(nn.Module):
    """Non-local attention of a layer to a deeper one: (N, C, H, W), (N, D, H', W') -> (N, C, H, W).

    Queries from `x`, keys and values from `deeper`: x + W softmax(Q^T K) V, in half of x's channels.
    """

    keeps_init = True

    def __init__(self, channels: int, deeper_channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key, self.value = (nn.Conv2d(deeper_channels, inner, 1) for _ in range(2))
        self.out = zero_init(nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor, deeper: Tensor) -> Tensor:
        return x + self.out(attend(self.query(x), self.key(deeper), self.value(deeper)))
