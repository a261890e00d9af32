"""Fit the tensors of a file to a network, by the names that torchvision and timm have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.layers.head import is_head_key
from dlzoo.weights.names import renamings
from dlzoo.weights.unwrap import State

#: The fraction of the tensors before the head that a file must have.
LEAST = 0.9
#: Counters of batch normalisation, which frozen and older ones do not have, and which evaluation does not use.
_COUNTERS = "num_batches_tracked"


@dataclass(frozen=True)
class Match:
    """How a file fits a network.

    `taken`: name in the network -> tensor.
    `new`: names in the network that keep their initial weights.
    `left`: names in the file that the network does not have.
    `adapted`: names in the network whose tensors were resized, such as those for other input channels.
    `misfits`: names in the network -> shapes of the tensors in the file that do not fit.
    """

    taken: State = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    misfits: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return what was taken, what is new and what was left over, a line each."""
        lines = [f"{len(self.taken)} tensors taken"]
        if self.adapted:
            lines[0] += f", {len(self.adapted)} of them resized ({_some(self.adapted)})"
        if self.new:
            lines.append(f"{len(self.new)} new: {_some(self.new)}")
        if self.left:
            lines.append(f"{len(self.left)} left over: {_some(self.left)}")
        return lines


def by_name(state: State, network: nn.Module, foreign: Mapping[str, str], origin: str) -> Match:
    """Fit tensors by their names, with the renaming of names.py that most of them fit.

    Args:
        state: the tensors of the file.
        network: ours.
        foreign: name of torchvision or timm -> name in the network.
        origin: of the weights, for the error.

    Raises:
        UserError: if less than 90 % of the network's tensors before its head are in the file.
    """
    matches = [_matched(state, network, foreign, rename) for rename in renamings(foreign)]
    best = max(matches, key=lambda match: len(match.taken))
    return _checked(best, network, origin)


def _checked(match: Match, network: nn.Module, origin: str) -> Match:
    """Return the match, if the file has at least 90 % of the network's tensors before its head.

    Raises:
        UserError: if it has less, with the first five differences.
    """
    body = [key for key in network.state_dict() if not is_head_key(key) and not key.endswith(_COUNTERS)]
    fitting = sum(key in match.taken for key in body)
    if fitting >= LEAST * len(body) and fitting:
        return match
    absent = [key for key in match.new if not is_head_key(key)][:5]
    sizes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    differences = "; ".join(f"{key}: {match.misfits.get(key, 'absent')} in the file, {sizes[key]} in the model"
                            for key in absent)  # fmt: skip
    raise UserError(f"{origin}: weights of another model: {fitting} of {len(body)} tensors before the head fit"
                    f" ({differences})")  # fmt: skip


def _matched(
    state: State, network: nn.Module, foreign: Mapping[str, str], rename: Callable[..., dict[str, str]]
) -> Match:
    ours, match = network.state_dict(), Match()
    for name, theirs in rename(state).items():
        key, value = foreign.get(theirs, theirs), state[name]
        fitted = _fitted(value, ours[key]) if key in ours and key not in match.taken else None
        if fitted is None:
            match.left.append(name)
            if key in ours:
                match.misfits.setdefault(key, tuple(value.shape))
            continue
        match.taken[key] = fitted
        if fitted.shape != value.shape:
            match.adapted.append(key)
    match.new.extend(key for key in ours if key not in match.taken and not key.endswith(_COUNTERS))
    return match


def _fitted(value: Tensor, ours: Tensor) -> Tensor | None:
    """Return a tensor as the network has it; None if it does not fit.

    The first convolution of a network for another number of channels has the sum over the channels of the file for one
    channel, and otherwise repeats them, scaled so that equal channels give the same sum.
    """
    if value.is_floating_point() != ours.is_floating_point():
        return None
    if value.shape == ours.shape:
        return value
    same = value.dim() == ours.dim() == 4 and value.shape[0] == ours.shape[0] and value.shape[2:] == ours.shape[2:]
    if not same or value.shape[1] != 3:
        return None
    channels = ours.shape[1]
    repeated = value.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return value.sum(1, keepdim=True) if channels == 1 else repeated * (3 / channels)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
