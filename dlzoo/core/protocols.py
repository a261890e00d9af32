"""What the rest of dlzoo may find on a layer or a network beside nn.Module, by name and type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Stepwise(Protocol):
    """A layer that has to know where an optimizer step begins, as cross-mini-batch norm does."""

    def begin_step(self) -> None:
        """Called before each pass of the batch of a step."""
        ...


@runtime_checkable
class Normalised(Protocol):
    """A network whose weights expect images normalised in their own way."""

    #: (mean, standard deviation) of each channel, for images between 0 and 1; None where it does not matter.
    normalisation: tuple[Sequence[float], Sequence[float]] | None


@runtime_checkable
class Noted(Protocol):
    """A network that has something to say to whoever uses it, such as which parts could not be replaced."""

    remarks: Sequence[str]


@runtime_checkable
class Summed(Protocol):
    """A loss that is no mean over the samples, but a function of sums over them."""

    def sums(self, input: Tensor, target: Tensor) -> Tensor:
        """Return what a batch adds to the sums."""
        ...

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss of all batches whose sums these are: a scalar."""
        ...


def normalisation_of(network: object) -> tuple[Sequence[float], Sequence[float]] | None:
    """(mean, standard deviation) of each channel that a network's weights expect; None where it does not matter."""
    return network.normalisation if isinstance(network, Normalised) else None


def notes_of(network: object) -> Sequence[str]:
    """What a network has to say to whoever uses it."""
    return network.remarks if isinstance(network, Noted) else ()
