"""The training loop: many optimizer steps per call of Lightning, without waiting for the device between them.

The loader yields ranges of steps (engine/clock.py); training_step runs them under manual optimisation. Learning rate,
sample order, augmentation and dropout are functions of the step, so the result does not depend on the ranges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlzoo.core import distributed
from dlzoo.core.errors import UserError
from dlzoo.core.protocols import Stepwise
from dlzoo.data.loader import Batch, Loaders
from dlzoo.engine.adversarial import LossFunction, SelfAdversarial
from dlzoo.engine.clock import Indices, Ranges
from dlzoo.engine.ema import Ema
from dlzoo.engine.recipe import Context, Recipe
from dlzoo.engine.state import TrainState, at_epoch_start, set_progress
from dlzoo.engine.steps import Steps
from dlzoo.metrics.evaluation import Evaluation
from dlzoo.optim.settings import Observer

#: Seconds between updates of the display on a CPU, where reading a tensor does not wait for a device.
_PEEK = 1.0


class TaskModule(pl.LightningModule, ABC):
    """Lightning module that trains a network. A subclass defines the loss of a batch and the metrics of a split.

    Args:
        network: images -> predictions.
        loaders: the batches of each split.
        recipe: how the network is trained.
        context: the process it runs in, and what observes it.
    """

    #: Names of what `loss` returns, the loss first; the mean over all batches since the last log is logged.
    logged_names: tuple[str, ...]
    #: The metric that selects the checkpoint on validation and is reported first. Of a task's own, larger is better.
    monitor: str

    def __init__(self, network: nn.Module, *, loaders: Loaders, recipe: Recipe, context: Context) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.normalise = network, loaders.normalise
        self.ema = None if recipe.ema is None else deepcopy(network).requires_grad_(False)
        self.loaders, self.recipe, self.context, self.schedule = loaders, recipe, context, recipe.schedule
        self.monitor = type(self).monitor if recipe.monitor is None else recipe.monitor.name
        self.state = TrainState(recipe.loss_scale)
        self.stop_requested = False
        self.status = ""

    # To be defined by a subclass

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return (the batch's mean loss, the other tensors of `logged_names`, without gradient)."""

    def loss_of_step(self, batches: Sequence[Batch]) -> LossFunction:
        """Return the loss for the micro-batches of one step on this rank, of which the mean is the loss of the step."""
        return self.loss

    @abstractmethod
    def evaluation(self, *, details: bool) -> Evaluation:
        """Return an empty accumulator of a split's metrics; with `details` it also keeps the test predictions."""

    @abstractmethod
    def evaluate(self, batch: Batch, evaluation: Any) -> None:
        """Add a batch of an evaluated split to its accumulator."""

    # Training

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device  # self.device is not set yet
        loaders = self.loaders
        for loader in [loaders.train, loaders.val] if stage == "fit" else [loaders.test]:
            if loader is not None:
                loader.to(device)

    def configure_optimizers(self) -> Optimizer:
        optimizer = self.recipe.make_optimizer(self.network)
        if self.recipe.regulariser is not None:
            self.recipe.regulariser.claim(optimizer)
        self._base_rates = [group["lr"] for group in optimizer.param_groups]
        return optimizer

    def train_batches(self) -> Ranges:
        """Return the loader for trainer.fit."""
        return Ranges(self.schedule, lambda: self.state.clock)

    def train(self, mode: bool = True) -> TaskModule:
        super().train(mode)
        for module in self.recipe.frozen:
            module.eval()
        return self

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # Steps and indices: the loaders are on the device already.

    def on_train_start(self) -> None:
        # Lightning's own progress is always "at the start of an epoch" (on_save_checkpoint); the clock is ours.
        self.trainer.fit_loop.restarting = False
        self.train()  # Lightning does not change the mode of modules; frozen ones must stay in evaluation mode
        self._stop_if_patience_is_over()  # early stopping may have ended the run before it was resumed
        self._steps = self._make_steps()
        self.state.window = [tuple(value.to(self.device) for value in values) for values in self.state.window]
        set_progress(self.trainer, self.schedule, self.state.clock)
        if self.recipe.compiled:
            self.network.compile(dynamic=False)  # in place: the keys of the state dict do not change
        self._peeked = perf_counter()

    def _make_steps(self) -> Steps:
        recipe, optimizer = self.recipe, self.trainer.optimizers[0]
        wrapped: Any = self.optimizers()
        # Lightning's wrapper of a closure does not take the argument that Newton's method passes.
        is_bare = self.context.observed != "steps" or recipe.uses_closure
        adversary = SelfAdversarial(recipe.self_adversarial, self.normalise, self.network, self.loss, recipe.loss_scale)
        # Layers that need to know where a step begins: cross-mini-batch norm.
        stepwise = [module for module in self.network.modules() if isinstance(module, Stepwise)]

        def begin_pass(step: int) -> None:
            """Seed dropout for the step: each forward pass of its batch draws the same masks."""
            self.context.reseed(self.device, step)
            for module in stepwise:
                module.begin_step()

        return Steps(
            self.network,
            self.loss,
            self.loss_of_step if self.loaders.train.accumulate * self.context.rank.world_size > 1 else None,
            recipe,
            self.loaders.train,
            optimizer,
            take_step=optimizer.step if is_bare else wrapped.step,
            backward=self._backward,
            begin_pass=begin_pass,
            adversarial=adversary if recipe.self_adversarial else None,
            restore_mode=self.train,
            average=None if self.ema is None else Ema(self.ema, self.network, recipe.ema or 0.0),
        )

    def training_step(self, steps: range, batch_idx: int) -> dict[str, Tensor] | None:
        started, state = perf_counter(), self.state
        single, on_cpu = self.context.rank.world_size == 1, self.device.type == "cpu"
        for step in steps:
            self._step(step)
            state.clock = step + 1
            if single and self.stop_requested:  # several ranks agree on it at the end of a range
                break
            if on_cpu and perf_counter() - self._peeked > _PEEK:
                state.latest |= self._name_means(state.window_means())
                self._peeked = perf_counter()
        logs = self.schedule.logs(state.clock)
        means = self.training_means() if logs else {}  # the host waits for the device here
        state.window_seconds += perf_counter() - started
        set_progress(self.trainer, self.schedule, self.state.clock)
        outputs = {"loss": state.window[-1][0]} if self.context.observed == "steps" else None
        if logs:
            self._log_training(means)
        return outputs

    def _step(self, step: int) -> None:
        self.state.window += self._steps.run(step, self._base_rates)
        if self.context.observed == "steps":  # Lightning calls this hook in automatic optimisation only
            for callback in self.trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
                callback.on_before_zero_grad(self.trainer, self, self._steps.optimizer)
        self._steps.finish(step)

    def _backward(self, loss: Tensor, last: bool) -> None:
        """Call torch directly: of Lightning's strategies only DDP needs a call, once per step."""
        if self.context.observed == "steps":
            self.manual_backward(loss)
            return
        if last and self.context.rank.world_size > 1:
            self.trainer.strategy.pre_backward(loss)
        loss.backward()

    def stops(self) -> bool:
        """Return whether any rank was asked to stop. Every rank must call this at the same steps."""
        return distributed.any_rank(self.stop_requested, self.device)

    def training_means(self) -> dict[str, float]:
        """Return the mean of each of `logged_names` since the last log, over all ranks; every rank must call this.

        Raises:
            UserError: if one is not finite: the training has diverged.
        """
        if not self.state.window:
            return {}
        return self._name_means(distributed.all_reduce(self.state.window_means()) / self.context.rank.world_size)

    def _name_means(self, values: Tensor) -> dict[str, float]:
        means = values.tolist()
        if diverged := self.state.divergence(means):
            raise self._divergence_error(diverged)
        return {f"train/{name}": mean for name, mean in zip(self.logged_names, means, strict=True)}

    def check_weights_are_finite(self) -> None:
        """Check the weights themselves: no loss was computed after the last step.

        Raises:
            UserError: if a weight is not finite.
        """
        if not self._steps.weights_are_finite():
            raise self._divergence_error("the weights are not finite after")

    def _divergence_error(self, what: str) -> UserError:
        good = self.state.latest.get("train/loss")
        return UserError(
            f"{what} step {self.state.clock} (last finite loss: {'none' if good is None else f'{good:.4g}'},"
            f" learning rate {self._steps.optimizer.param_groups[0]['lr']:.3g}); try a smaller optimizer.lr, a warm-up"
            f" (schedule.warmup=0.05) or {self.state.remedy}"
        )

    def _log_training(self, means: dict[str, float]) -> None:
        state = self.state
        lr = self._steps.optimizer.param_groups[0]["lr"]
        speed = (state.clock - state.last_logged_step) * self.loaders.train.batch_size / state.window_seconds
        state.close_window()
        if self.context.observed:
            self.log_dict(means)
        scaling = {} if state.loss_scale is None else state.loss_scale.values()
        self._publish(means | {"lr": lr, "images_per_second": speed} | scaling)

    def _publish(self, values: dict[str, float]) -> None:
        self.state.add_record(values)
        self.context.record(self.state.clock, self.schedule.epochs_at(self.state.clock), values)

    # Evaluation

    @property
    def eval_network(self) -> nn.Module:
        """The network that is evaluated: the averaged one, if weights are averaged."""
        return self.network if self.ema is None else self.ema

    def predictions(self, batch: Batch) -> Tensor:
        """Return the outputs of the evaluated network, averaged over the views of each sample: (N, K)."""
        return self.eval_network(batch.images).float().unflatten(0, (-1, len(batch.labels))).mean(0)

    def eval_batches(self, part: str) -> Indices | None:
        """Return the loader of a split for trainer.fit and trainer.test; None if there is no such split."""
        loader = self.loaders.evaluated.get(part)
        return None if loader is None else Indices(len(loader))

    def on_validation_epoch_start(self) -> None:
        self._begin_evaluation(details=False)

    def on_test_epoch_start(self) -> None:
        self._begin_evaluation(details=True)

    def _begin_evaluation(self, *, details: bool) -> None:
        self._evaluation = self.evaluation(details=details)
        distributed.broadcast_buffers(self.eval_network)

    def validation_step(self, index: int, batch_idx: int) -> None:
        self._evaluate("val", index)

    def test_step(self, index: int, batch_idx: int) -> None:
        self._evaluate("test", index)

    def _evaluate(self, part: str, index: int) -> None:
        loader = self.loaders.evaluated[part]
        self.status = f"{part} {index + 1}/{len(loader)}"
        # Not compiled: the last batch is shorter, and compiling for it takes longer than it saves.
        with torch.compiler.set_stance("force_eager") if self.recipe.compiled else nullcontext():
            if (batch := loader.batch(index)) is not None:
                self.evaluate(batch, self._evaluation)
                self._evaluation.count += len(batch.labels)

    def _compute_metrics(self, part: str) -> dict[str, float]:
        """Return the metrics of a split, over all ranks."""
        evaluation, samples = self._evaluation, self.loaders.evaluated[part].samples
        evaluation.merge_ranks()
        assert evaluation.count == samples, f"{evaluation.count} of {samples} samples of {part} were counted"
        self.status = ""
        return {f"{part}/{name}": float(value) for name, value in evaluation.compute().items()}

    def on_validation_epoch_end(self) -> None:
        values = self._compute_metrics("val")
        if self.context.observed:
            self.log_dict(values)
        self._publish(values)
        score = self.recipe.score(values, self.monitor)
        defined = self.monitor != type(self).monitor or self._evaluation.is_score_defined()
        self.state.add_validation(score, defined=defined, keep=self.recipe.keep_best)
        if defined and isinstance(self.recipe.lr_factor, Observer):
            self.recipe.lr_factor.observe(score)
        self._stop_if_patience_is_over()

    def on_test_epoch_end(self) -> None:
        self.test_metrics, self.tested = self._compute_metrics("test"), self._evaluation

    def _stop_if_patience_is_over(self) -> None:
        best, patience = self.state.best, self.recipe.patience
        if best is not None and patience is not None:
            waited = self.schedule.validations(self.state.clock) - self.schedule.validations(best.reached)
            self.trainer.should_stop = self.trainer.should_stop or waited >= patience

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        epoch = self.schedule.epochs_done(self.state.clock)
        checkpoint["epoch"], checkpoint["global_step"] = epoch, self.state.clock
        checkpoint["loops"] = at_epoch_start(epoch)
        factor = self.recipe.lr_factor
        schedule = factor.state_dict() if isinstance(factor, Observer) else None
        checkpoint["task"] = self.state.state_dict() | {"schedule": schedule}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["task"]
        self.state.load_state_dict(state, self.context.rank.rank)
        if isinstance(self.recipe.lr_factor, Observer):
            self.recipe.lr_factor.load_state_dict(state["schedule"])
