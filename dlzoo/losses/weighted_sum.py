"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.protocols import Summed
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import NonNegative
from dlzoo.losses.targets import to_full_precision


@LOSSES.register("sum", source="the entries that it is made of", targets=("classification", "masks"), soft=True)
def weighted_sum(
    *, of: tuple[str, ...] = ("cross_entropy", "dice"), weights: tuple[NonNegative, ...] | None = None
) -> nn.Module:
    """The losses `of`, by name, with their default settings, times `weights`, added; null is 1 for each

    A sum takes the targets that all of its losses take.

    Raises:
        UserError: for an unknown loss, one that is not for classes or has no gradient, `sum` itself, or weights whose
            number differs.
    """
    known = _able("classification", "masks")
    for name in of:
        if name not in known:
            reason = (
                f"{name} is not a classification loss with a gradient"
                if name in LOSSES.names()
                else f"unknown loss {name!r}"
            )
            reason = "a sum cannot be a part of a sum" if name == "sum" else reason
            raise UserError(f"loss.of: {reason}; {did_you_mean(name, known)}")
    if not of:
        raise UserError("loss.of is empty; name the losses to add, such as loss.of=[cross_entropy,dice]")
    if weights is not None and len(weights) != len(of):
        ones = ",".join("1" for _ in of)
        raise UserError(f"loss.weights is a list of {len(weights)} for loss.of with {len(of)}; give a number for each,"
                        f" such as loss.weights=[{ones}]")  # fmt: skip
    if weights is not None and not any(weights):
        raise UserError("loss.weights has no number above 0, so there is nothing to learn; give one of them a weight")
    return WeightedSum(of, [LOSSES.build(name) for name in of], weights or [1.0] * len(of))


class WeightedSum(nn.Module):
    """The sum of weight * loss(input, target).

    Its sums are (R, C), the rows those of its losses one after the other. C is the columns of the widest, the classes;
    sums without columns are repeated in each.

    Args:
        names: of the losses, for messages.
        losses: the losses.
        weights: a number for each.
    """

    def __init__(self, names: Sequence[str], losses: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.names, self.weights = list(names), list(weights)
        self.losses = nn.ModuleList(losses)
        tried = [_sums(loss, torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), None) for loss in losses]
        self._rows, self._flat = [len(sums) for sums in tried], [sums.dim() == 1 for sums in tried]
        soft = [name for name in _able("classification") if LOSSES[name].marks.soft]
        self._refusals = {"probabilities": self._refusal("probabilities", soft),
                          "masks": self._refusal("masks", _able("masks"))}  # fmt: skip

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            self._check("probabilities")
        input = to_full_precision(input)  # once: gradients of half precision would be rounded before they are added
        return self._add([loss(input, target) for loss in self.losses])

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (R, C) float64: the sums of the losses.

        Raises:
            UserError: if `valid` is given and one of the losses is not for masks.
        """
        if valid is not None:
            self._check("masks")
        input = to_full_precision(input)
        parts = [_sums(loss, input, target, valid) for loss in self.losses]
        columns = max(1 if part.dim() == 1 else part.shape[1] for part in parts)
        return torch.cat([part.double().view(len(part), -1).expand(-1, columns) for part in parts])

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        values = []
        for loss, flat, part in zip(self.losses, self._flat, sums.split(self._rows), strict=True):
            own = part[:, 0] if flat else part
            values.append(loss.from_sums(own) if isinstance(loss, Summed) else own[0] / own[1])
        return self._add(values)

    def _add(self, values: Sequence[Tensor]) -> Tensor:
        return torch.stack([weight * value for weight, value in zip(self.weights, values, strict=True)]).sum()

    def _refusal(self, targets: str, able: Sequence[str]) -> str:
        """Return which of the losses is not `able` to take such targets; "" if all are."""
        unable = next((name for name in self.names if name not in able), None)
        return f"loss.of: {unable} does not take {targets}; available: {', '.join(able)}" if unable else ""

    def _check(self, targets: str) -> None:
        if self._refusals[targets]:
            raise UserError(self._refusals[targets])


def _sums(loss: nn.Module, input: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Return the sums of a loss; of one that is the mean over its samples, the sum over them and their number."""
    if isinstance(loss, Summed):
        return loss.sums(input, target, valid)
    count = len(target)
    value = loss(input, target).double() * count
    return torch.stack([value, torch.full_like(value, count)])


def _able(*targets: str) -> list[str]:
    """Return the losses that learn and take one of the kinds of targets, without sums."""
    named = ((name, LOSSES[name].marks) for name in LOSSES.names() if name != "sum")
    return [name for name, marks in named if marks.learns and not {*targets}.isdisjoint(marks.targets)]
