"""Parts: what the user chose, handed to a model that was written once with holes where techniques go."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from dlzoo.errors import UserError


class Parts:
    """Makes the parts that a model asks for, and remembers which kinds it took.

    Args:
        norm: channels -> norm layer
        act: () -> activation
        asked: the kinds that the user named, such as {"norm": "gn"}; the rest are the model's own defaults.
    """

    def __init__(
        self,
        norm: Callable[[int], nn.Module],
        act: Callable[[], nn.Module],
        asked: dict[str, str] | None = None,
    ) -> None:
        self._norm, self._act = norm, act
        self._asked = asked or {}
        self.taken: set[str] = set()

    def norm(self, channels: int) -> nn.Module:
        """A norm layer for `channels`."""
        self.taken.add("norm")
        return self._norm(channels)

    def act(self) -> nn.Module:
        """An activation."""
        self.taken.add("act")
        return self._act()

    def refuse_unused(self, model: str) -> None:
        """Call when the model is built.

        Raises:
            UserError: if the user asked for a part that the model never took.
        """
        for kind, name in self._asked.items():
            if kind not in self.taken:
                raise UserError(
                    f"model={model} has no place for {kind}={name}; leave {kind} out, or choose another model"
                )
