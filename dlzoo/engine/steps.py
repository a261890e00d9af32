"""Optimizer steps: forward and backward passes over a batch, clipping, regularisation and averaging."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlzoo.data.loader import Batch, TrainLoader
from dlzoo.engine.adversarial import LossFunction, SelfAdversarial
from dlzoo.engine.closure import Closure, Logged
from dlzoo.engine.ema import Ema
from dlzoo.engine.recipe import Recipe


@dataclass
class Steps:
    """Optimizer steps of a training, each a function of its number and of the weights before it.

    Args:
        network: the network to train.
        loss: batch -> (loss, other logged tensors).
        loss_of_step: the micro-batches of a step -> their loss, as `loss`; None if a step is one batch.
        recipe: how it is trained.
        loader: the training batches.
        optimizer: the optimizer of the network's parameters.
        take_step: the optimizer's step, with a closure if the recipe uses one.
        backward: (loss, whether it is the last micro-batch of the step) -> None.
        begin_pass: step -> None; called before each forward pass.
        adversarial: perturbs each batch first, if given.
        restore_mode: puts the network into training mode, except for frozen modules.
        average: the averaged weights, if any.
    """

    network: nn.Module
    loss: LossFunction
    loss_of_step: Callable[[Sequence[Batch]], LossFunction] | None
    recipe: Recipe
    loader: TrainLoader
    optimizer: Optimizer
    take_step: Callable[..., Any]
    backward: Callable[[Tensor, bool], None]
    begin_pass: Callable[[int], None]
    adversarial: SelfAdversarial | None
    restore_mode: Callable[[], Any]
    average: Ema | None

    def __post_init__(self) -> None:
        self.trainable = [p for group in self.optimizer.param_groups for p in group["params"]]

    def run(self, step: int, base_rates: Iterable[float]) -> Logged:
        """Run one optimizer step and return the logged tensors of each micro-batch."""
        factor, taken = self.recipe.lr_factor(step), True
        for group, rate in zip(self.optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        batches: Iterable[Batch] = self.loader.batches(step)
        if self.adversarial is not None:
            batches = [self._perturbed(batch) for batch in batches]
        loss = self.loss
        if self.loss_of_step is not None:
            batches = list(batches)
            loss = self.loss_of_step(batches)
        gradients = partial(self.accumulate_gradients, loss=loss)
        if self.recipe.uses_closure:
            closure = Closure(self.network, list(batches), loss, partial(self.begin_pass, step), gradients)
            self.take_step(closure)
            logged = closure.logged
        else:
            self.begin_pass(step)
            logged = gradients(batches)
            taken = self._take_step()
        if self.recipe.regulariser is not None:
            self.recipe.regulariser.after_step(skipped=not taken)
        return logged

    def finish(self, step: int) -> None:
        """Clear the gradients and update the averaged weights."""
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(first=step == 0)

    def accumulate_gradients(self, batches: Iterable[Batch], loss: LossFunction) -> Logged:
        """Add the gradients of a step's micro-batches to the parameters, clip them and apply the regulariser.

        Returns the logged tensors of each micro-batch.
        """
        logged, parts, loss_scale = [], self.loader.accumulate, self.recipe.loss_scale
        for part, batch in enumerate(batches, 1):
            value, others = loss(batch)
            share = value if parts == 1 else value / parts
            self.backward(share if loss_scale is None else loss_scale.multiply(share), part == parts)
            logged.append((value.detach(), *others))
        if loss_scale is not None:
            loss_scale.begin_step(self.optimizer, self.take_step)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.trainable, self.recipe.clip_norm, foreach=True)
        if self.recipe.regulariser is not None:
            self.recipe.regulariser.before_step()
        return logged

    def _take_step(self) -> bool:
        """Make the optimizer's step and return whether it was not skipped."""
        if self.recipe.loss_scale is not None:
            return self.recipe.loss_scale.end_step()
        self.take_step()
        return True

    def weights_are_finite(self) -> bool:
        """Return whether every weight is finite."""
        norms = torch._foreach_norm(self.trainable)  # pyright: ignore[reportPrivateImportUsage]
        return bool(torch.stack(norms).isfinite().all())

    def _perturbed(self, batch: Batch) -> Batch:
        assert self.adversarial is not None
        batch = self.adversarial(batch)
        self.restore_mode()
        return batch
