"""Parts: what the user chose, handed to a model that was written once with holes where techniques go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dlzoo.errors import UserError


class Parts:
    """Makes the parts that a model asks for, and remembers which kinds it took.

    Args:
        makers: kind -> what makes a part of it: {"norm": channels -> layer, "act": () -> layer}
        asked: what the user named beside the model's own defaults, such as {"norm": "gn"}
    """

    def __init__(self, makers: Mapping[str, Callable[..., Any]], asked: Mapping[str, str]) -> None:
        self._makers, self._asked = makers, asked
        self.taken: set[str] = set()

    def norm(self, channels: int) -> nn.Module:
        """A norm layer for `channels`."""
        return self._take("norm", channels)

    def act(self) -> nn.Module:
        """An activation."""
        return self._take("act")

    def _take(self, kind: str, *wiring: int) -> nn.Module:
        self.taken.add(kind)
        return self._makers[kind](*wiring)

    def refuse_unused(self, model: str) -> None:
        """Call when the model is built.

        Raises:
            UserError: if the user asked for a part that the model never took.
        """
        for kind, name in self._asked.items():
            if kind not in self.taken:
                raise UserError(f"model={model} as it is set has no place for {kind}={name}")
