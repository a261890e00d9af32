"""The loss of a step's batch, for optimizers that ask for it more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlzoo.data.loader import Batch

if TYPE_CHECKING:
    from dlzoo.engine.task_module import Task


class Closure:
    """What SAM, L-BFGS and Newton's method call, as often as they like in one step.

    Every call draws the same dropout masks, and running statistics move in the first one only.
    """

    def __init__(self, task: Task, step: int, batches: Sequence[Batch]) -> None:
        self._task, self._step, self._batches = task, step, batches
        self._statistics: list[Tensor] = []
        #: What the task keeps of each micro-batch, at the weights that the step began with.
        self.kept: list[tuple[Tensor, ...]] = []

    def __call__(self, create_graph: bool = False) -> Tensor:
        """The mean loss, with gradients in the parameters; with `create_graph` a loss to be differentiated instead."""
        task = self._task
        task.begin_pass(self._step)
        if create_graph:
            given = [task.loss(batch) for batch in self._batches]
            kept = [(part.detach(), *others) for part, others in given]
            loss = torch.stack([part for part, _ in given]).mean()
        else:
            task.network.zero_grad()
            kept = task.gradients(self._batches)
            loss = torch.stack([part[0] for part in kept]).mean()
        self._keep_statistics()
        self.kept = self.kept or kept
        return loss

    def _keep_statistics(self) -> None:
        buffers = list(self._task.network.buffers())
        if not self.kept:
            self._statistics = [buffer.clone() for buffer in buffers]
        else:
            for buffer, before in zip(buffers, self._statistics, strict=True):
                buffer.copy_(before)
