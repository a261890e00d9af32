"""Parts: what the user chose, handed to a model that was written once with holes where techniques go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from dlzoo.core.errors import UserError


@dataclass(frozen=True)
class Maker:
    """What makes a part of one kind.

    Attributes:
        make: called with what a model says of the place; what it takes no parameter for, it is not given.
        needs: what not every place offers: "size" (of the maps, in pixels), "maps" (pixels, not vectors) or "branch"
            (a whole residual branch); "" goes anywhere.
        settings: what is common to the kind, as `drop.place`.
    """

    make: Callable[..., Any]
    needs: str = ""
    settings: Any = None


class Parts:
    """Makes the parts that a model asks for, and remembers which kinds it took.

    Args:
        makers: kind -> what the user chose, or the model's own default.
        neutral: kind -> what goes where the choice cannot.
        asked: what the user named beside the model's own defaults, such as {"norm": "norm=gn"}.
    """

    def __init__(
        self, makers: Mapping[str, Maker], neutral: Mapping[str, Callable[..., Any]], asked: Mapping[str, str]
    ) -> None:
        self._makers, self._neutral, self._asked = makers, neutral, asked
        self._convs = 0
        self.taken: set[str] = set()
        #: kind -> what its places offered; "" if anything goes there.
        self.offered: dict[str, set[str]] = {}

    def chosen(self, kind: str) -> bool:
        """Whether anything of the kind is to be made; a network from elsewhere keeps its own where nobody chose."""
        return kind in self._makers

    def norm(self, channels: int) -> nn.Module:
        """A norm layer for `channels`."""
        return self._take("norm", channels=channels)

    def act(self) -> nn.Module:
        """An activation."""
        return self._take("act")

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        bias: bool = True,
        valid: bool = False,
        size: int | None = None,
    ) -> nn.Module:
        """A convolution: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).

        `valid`: without zeros around, so that the maps lose kernel_size - 1 pixels before the stride. Say the `size` of
        the maps that come in where it is known: layers without weight sharing need it.
        """
        self._convs += 1
        place = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "stride": stride,
            "bias": bias,
            "valid": valid,
        }
        place["kernel_size"] = self._makers["conv"].settings.kernel_size or kernel_size
        return self._take("conv", {"", "size"} if size else {""}, **place, size=size, number=self._convs - 1)

    def attention(self, channels: int) -> nn.Module:
        """What weighs features: (N, channels, H, W) -> the same shape."""
        return self._take("attention", channels=channels)

    def pool(
        self, channels: int, kernel_size: int = 2, *, stride: int = 2, padding: int = 0, ceil_mode: bool = False
    ) -> nn.Module:
        """What makes maps smaller: (N, channels, H, W) -> (N, channels, H / stride, W / stride)."""
        window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        return self._take("pool", channels=channels, parts=self, **window)

    def drop(self, *, maps: bool = True) -> nn.Module:
        """Noise on features in training; `maps`: whether they are (N, C, H, W)."""
        return self._take("drop", {"", "maps"} if maps else {""})

    @property
    def drop_before_norm(self) -> bool:
        """Where a block that has a norm puts its drop."""
        return self._makers["drop"].settings.place == "before_norm"

    def branch_drop(self, depth: float) -> nn.Module:
        """Noise on a whole residual branch, at `depth` l / L of block l of L.

        Raises:
            UserError: if noise on branches was asked for, before norms.
        """
        if self._makers["drop"].needs == "branch" and self.drop_before_norm:
            raise UserError("drop.place=before_norm is for noise inside a block; this drop takes whole branches")
        return self._take("drop", {"branch"}, depth=depth)

    def head(self, channels: int, size: int) -> Any:
        """What turns the last maps, `size` pixels a side, into the vector (N, out_features) that is classified.

        The module knows its `out_features`.
        """
        head = self._take("head", channels=channels, size=size, parts=self)
        if not hasattr(head, "out_features"):
            raise UserError(f"head: {type(head).__name__} does not say its out_features")
        return head

    def upsample(self, channels: int, factor: int) -> nn.Module:
        """(N, channels, H, W) -> (N, channels, factor * H, factor * W)."""
        return self._take("upsample", channels=channels, factor=factor)

    def neck(self, channels: Sequence[int]) -> Any:
        """What mixes the maps of several sizes, `channels` of each, fine to coarse: a list -> a list of the same sizes.

        The module knows the `out_channels` of each.
        """
        return self._take("neck", channels=tuple(channels), parts=self, settings=self._makers["neck"].settings)

    def _take(self, kind: str, offers: set[str] | None = None, **place: Any) -> nn.Module:
        offers = offers or {""}
        self.offered.setdefault(kind, set()).update(offers)
        maker = self._makers[kind]
        if maker.needs not in offers:
            return self._neutral[kind](**place)
        self.taken.add(kind)
        return maker.make(**place)

    def refuse_unused(self, model: str, remarks: Sequence[str] = ()) -> None:
        """Call when the model is built, with what is to be said of parts that could not be replaced.

        Raises:
            UserError: if the user asked for a part that the model never took.
        """
        for kind, words in self._asked.items():
            if kind not in self.taken:
                why = f" ({'. '.join(remarks)})" if remarks else ""
                raise UserError(f"model={model} as it is set does not support {words}{why}")
