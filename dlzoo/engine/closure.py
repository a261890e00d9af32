"""The loss of a step's batch, for optimizers that evaluate it more than once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.engine.adversarial import LossFunction

#: The logged tensors of each micro-batch, the loss first.
Logged = list[tuple[Tensor, ...]]


class Closure:
    """Closure that SAM, L-BFGS and Newton's method call any number of times in one step.

    Every call draws the same dropout masks, and only the first one updates running statistics.

    Args:
        network: the network to train.
        batches: the micro-batches of the step.
        loss: batch -> (loss, other logged tensors).
        begin_pass: called before each forward pass.
        gradients: batches -> the logged tensors of each; adds the gradients to the parameters.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: Sequence[Batch],
        loss: LossFunction,
        begin_pass: Callable[[], None],
        gradients: Callable[[Sequence[Batch]], Logged],
    ) -> None:
        self._network, self._batches, self._loss = network, batches, loss
        self._begin_pass, self._gradients = begin_pass, gradients
        self._statistics: list[Tensor] = []
        #: The logged tensors of each micro-batch, at the weights that the step began with.
        self.logged: Logged = []

    def __call__(self, create_graph: bool = False) -> Tensor:
        """Return the mean loss and set the gradients; with `create_graph`, return a differentiable loss instead."""
        self._begin_pass()
        if create_graph:
            results = [self._loss(batch) for batch in self._batches]
            logged = [(part.detach(), *others) for part, others in results]
            loss = torch.stack([part for part, _ in results]).mean()
        else:
            self._network.zero_grad()
            logged = self._gradients(self._batches)
            loss = torch.stack([part[0] for part in logged]).mean()
        self._keep_statistics()
        self.logged = self.logged or logged
        return loss

    def _keep_statistics(self) -> None:
        buffers = list(self._network.buffers())
        if not self.logged:
            self._statistics = [buffer.clone() for buffer in buffers]
        else:
            for buffer, before in zip(buffers, self._statistics, strict=True):
                buffer.copy_(before)
