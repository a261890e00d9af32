"""Parts: builders of the layers that the user chose, which a model calls wherever a technique can be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from dlzoo.core.errors import UserError


@dataclass(frozen=True)
class Maker:
    """Builder of the parts of one kind.

    Attributes:
        make: called with the arguments of the place; those that the part does not take are dropped.
        needs: requirement on the place: "size" (of the feature maps, in pixels), "maps" (feature maps, not vectors) or
            "branch" (a whole residual branch); "" fits anywhere.
        settings: settings common to the kind, such as `drop.place`.
    """

    make: Callable[..., Any]
    needs: str = ""
    settings: Any = None


class Parts:
    """Builds the parts of a model, and records which kinds it used.

    Args:
        makers: kind -> builder of the user's choice, or of the model's default.
        neutral: kind -> builder for places where the choice does not fit.
        requested: choices of the user that are not the model's defaults, such as {"norm": "norm=gn"}.
    """

    def __init__(
        self, makers: Mapping[str, Maker], neutral: Mapping[str, Callable[..., Any]], requested: Mapping[str, str]
    ) -> None:
        self._makers, self._neutral, self._requested = makers, neutral, requested
        self._convs = 0
        self.taken: set[str] = set()
        #: kind -> the `needs` that its places satisfied.
        self.offered: dict[str, set[str]] = {}

    def chosen(self, kind: str) -> bool:
        """Return whether a kind was chosen; otherwise a third-party network keeps its own."""
        return kind in self._makers

    def norm(self, channels: int) -> nn.Module:
        """Return a norm layer for `channels`."""
        return self._take("norm", channels=channels)

    def act(self) -> nn.Module:
        """Return an activation."""
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
        """Return a convolution: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).

        `valid`: without zero padding, so that feature maps lose kernel_size - 1 pixels before the stride. Pass the
        `size` of the input in pixels if it is known: layers without weight sharing need it.
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
        """Return an attention layer: (N, channels, H, W) -> the same shape."""
        return self._take("attention", channels=channels)

    def pool(
        self, channels: int, kernel_size: int = 2, *, stride: int = 2, padding: int = 0, ceil_mode: bool = False
    ) -> nn.Module:
        """Return a pooling layer: (N, channels, H, W) -> (N, channels, H / stride, W / stride)."""
        window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        return self._take("pool", channels=channels, parts=self, **window)

    def drop(self, *, maps: bool = True) -> nn.Module:
        """Return a dropout layer; `maps`: whether its input is feature maps (N, C, H, W), not vectors."""
        return self._take("drop", {"", "maps"} if maps else {""})

    @property
    def drop_before_norm(self) -> bool:
        """Whether blocks apply dropout before their norm."""
        return self._makers["drop"].settings.place == "before_norm"

    def branch_drop(self, depth: float) -> nn.Module:
        """Return dropout for a whole residual branch, at `depth` l / L of block l of L.

        Raises:
            UserError: if a drop of whole branches is combined with drop.place=before_norm.
        """
        if self._makers["drop"].needs == "branch" and self.drop_before_norm:
            raise UserError("drop.place=before_norm needs a drop inside blocks; this drop removes whole branches")
        return self._take("drop", {"branch"}, depth=depth)

    def head(self, channels: int, size: int) -> Any:
        """Return a head: the last feature maps (N, channels, size, size) -> a vector (N, out_features) to classify.

        The module has the attribute `out_features`.
        """
        head = self._take("head", channels=channels, size=size, parts=self)
        if not hasattr(head, "out_features"):
            raise UserError(
                f"head: {type(head).__name__} has no attribute out_features; set it to the length of its output"
            )
        return head

    def upsample(self, channels: int, factor: int) -> nn.Module:
        """Return an upsampling layer: (N, channels, H, W) -> (N, channels, factor * H, factor * W)."""
        return self._take("upsample", channels=channels, factor=factor)

    def neck(self, channels: Sequence[int]) -> Any:
        """Return a neck for feature maps with `channels`, fine to coarse: a list -> a list of the same sizes.

        The module has the attribute `out_channels`, the channels of each output.
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

    def refuse_unused(self, model: str, notes: Sequence[str] = ()) -> None:
        """Check, after the model is built, that it used every requested part; `notes` explain parts not replaced.

        Raises:
            UserError: if the user requested a part that the model never used.
        """
        for kind, words in self._requested.items():
            if kind not in self.taken:
                why = f" ({'. '.join(notes)})" if notes else ""
                raise UserError(f"model={model} with these settings does not support {words}{why}")
