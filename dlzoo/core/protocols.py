"""Protocols that a layer, a network or a loss may implement beside nn.Module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Stepwise(Protocol):
    """A layer that must be told when an optimizer step begins, such as cross-mini-batch normalisation."""

    def begin_step(self) -> None:
        """Called before the first pass over the batch of a step, and before each repeated one."""
        ...


@runtime_checkable
class Normalised(Protocol):
    """A network whose weights expect images with a certain normalisation."""

    #: (mean, standard deviation) of each channel, for images between 0 and 1; None if any normalisation will do.
    normalisation: tuple[Sequence[float], Sequence[float]] | None


@runtime_checkable
class Noted(Protocol):
    """A network with notes for its user, such as which parts could not be replaced."""

    remarks: Sequence[str]


@runtime_checkable
class Summed(Protocol):
    """A loss that is a function of sums over the samples, and not their mean."""

    def sums(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the sums of a batch."""
        ...

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss, a scalar, from the sums added over all batches."""
        ...


def normalisation_of(network: object) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return (mean, standard deviation) of each channel that a network's weights expect; None if any will do."""
    return network.normalisation if isinstance(network, Normalised) else None


def notes_of(network: object) -> Sequence[str]:
    """Return the notes of a network for its user."""
    return network.remarks if isinstance(network, Noted) else ()
