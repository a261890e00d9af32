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

    notes: Sequence[str]


@runtime_checkable
class Summed(Protocol):
    """A loss that is a function of sums over the samples, and not their mean.

    One that is registered for masks has sums over the pixels `valid`.
    """

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the sums of a batch, without the elements of the target where `valid` (N, ...) bool is false."""
        ...

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss, a scalar, from the sums added over all batches; 0 if no element was valid."""
        ...


@runtime_checkable
class LossOfSamples(Protocol):
    """A loss that is also known for each sample: a detector weighs its samples."""

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample: (N, ...)."""
        ...


@runtime_checkable
class OfIndependentClasses(Protocol):
    """A classification loss that says whether each class is a binary problem; otherwise classes are exclusive."""

    @property
    def independent(self) -> bool: ...


@runtime_checkable
class KeepsInit(Protocol):
    """A module that says whether it initialises itself, so that `init` leaves it and its children alone."""

    keeps_init: bool


@runtime_checkable
class ReplacesBias(Protocol):
    """A norm that says whether it makes a bias in the layer before it redundant; other norms are taken to."""

    @property
    def replaces_bias(self) -> bool: ...


@runtime_checkable
class FollowsActivation(Protocol):
    """A norm that says whether its place is after the activation; other norms come before it."""

    follows_act: bool


@runtime_checkable
class Scaled(Protocol):
    """A norm with a scale, which can start at zero."""

    def zero_(self) -> None:
        """Set the scale to zero."""
        ...


@runtime_checkable
class TakesBorder(Protocol):
    """A network of valid convolutions: images get a border of `margin` pixels on each side before they reach it."""

    margin: int


@runtime_checkable
class HasNotes(Protocol):
    """A transform of training batches that may have notes for the user after the first epoch."""

    def new_notes(self) -> Sequence[str]:
        """Return the notes that are new since the last call."""
        ...


def is_independent(loss: object) -> bool:
    """Return whether a classification loss treats each class as a binary problem, and not all in one softmax."""
    return isinstance(loss, OfIndependentClasses) and loss.independent


def keeps_init(module: object) -> bool:
    """Return whether a module initialises itself and its children."""
    return isinstance(module, KeepsInit) and module.keeps_init


def follows_activation(norm: object) -> bool:
    """Return whether `norm` comes after the activation."""
    return isinstance(norm, FollowsActivation) and norm.follows_act


def normalisation_of(network: object) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return (mean, standard deviation) of each channel that a network's weights expect; None if any will do."""
    return network.normalisation if isinstance(network, Normalised) else None


def notes_of(network: object) -> Sequence[str]:
    """Return the notes of a network for its user."""
    return network.notes if isinstance(network, Noted) else ()
