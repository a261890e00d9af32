"""The loop: many optimizer steps in one call of Lightning, with nothing between them that waits for the device.

The loader yields ranges of steps (plan.py); training_step runs them under manual optimisation. Rate, order,
augmentation and dropout are functions of the step, so a run is the same however its steps are cut into ranges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from itertools import zip_longest
from math import isfinite
from time import perf_counter
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlzoo.core import distributed
from dlzoo.core.distributed import ALONE, Rank
from dlzoo.core.errors import UserError
from dlzoo.data.loader import Batch, EvalFeed, TrainFeed
from dlzoo.engine.adversarial import Attack
from dlzoo.engine.clock import Indices, Plan, Ranges
from dlzoo.engine.closure import Closure
from dlzoo.engine.ema import Ema
from dlzoo.engine.state import Best, at_epoch_start
from dlzoo.optim.regularise import Regulariser
from dlzoo.optim.settings import Observer

Record = Callable[[int, float, dict[str, float]], None]

#: On a CPU, where looking costs nothing, the display gets new numbers this often, in seconds.
_PEEK = 1.0


class Task(pl.LightningModule, ABC):
    """Trains a network. A child says what a batch's loss is, and what is measured on a whole split.

    Args:
        network: images -> predictions.
        normalise: uint8 images -> what the network sees; kept in checkpoints.
        make_optimizer: network -> optimizer.
        asks_again: whether the optimizer's step takes a closure.
        regulariser: what is done to gradients and weights around each step of the optimizer.
        lr_factor: step -> factor of the optimizer's rates; an Observer is told of each validation.
        plan: the clock.
        train, val, test: where batches come from.
        reseed: (device, step) -> None; points dropout's generator at the step.
        record: (step, epoch, values) -> None; takes every logged scalar.
        clip_norm: the gradient's largest norm.
        attack: (task, batch) -> the batch that is trained on instead.
        ema: decay of the averaged weights, which are then what is evaluated.
        patience: epochs without a better validation score after which the training stops.
        frozen: children of the network that stay as they are, running statistics included.
        rank: which of the processes that share the batches this is.
        compiled: whether the training's forward and backward passes are compiled.
        observed: "steps" if a user's callbacks follow each step, which then goes through Lightning's wrappers; "epochs"
            if there are others; both find the logged numbers in trainer.callback_metrics.
    """

    #: What is kept of each batch while training, the loss first; its mean over all batches since the last is logged.
    kept: tuple[str, ...]
    #: The metric, larger is better, that selects on validation and is reported first.
    monitor: str

    def __init__(
        self,
        network: nn.Module,
        *,
        normalise: nn.Module,
        make_optimizer: Callable[[nn.Module], Optimizer],
        asks_again: bool = False,
        regulariser: Regulariser | None = None,
        lr_factor: Callable[[int], float],
        plan: Plan,
        train: TrainFeed,
        val: EvalFeed | None,
        test: EvalFeed,
        reseed: Callable[[torch.device, int], None],
        record: Record,
        clip_norm: float | None = None,
        attack: Attack | None = None,
        ema: float | None = None,
        patience: int | None = None,
        frozen: Iterable[nn.Module] = (),
        rank: Rank = ALONE,
        compiled: bool = False,
        observed: Literal["steps", "epochs"] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.normalise = network, normalise
        self.decay = ema
        self.ema = None if ema is None else deepcopy(network).requires_grad_(False)
        self.make_optimizer, self.lr_factor, self.plan = make_optimizer, lr_factor, plan
        self.regulariser, self.attack, self._asks_again = regulariser, attack, asks_again
        self.train_feed = train
        self.eval_feeds = {"test": test} | ({} if val is None else {"val": val})
        self.reseed, self.record, self.clip_norm, self.patience = reseed, record, clip_norm, patience
        self._frozen, self.rank = list(frozen), rank
        self.compiled, self._observed = compiled, observed
        self.clock = 0
        self.stop_requested = False
        self.train_seconds = 0.0
        self.latest: dict[str, float] = {}
        self.status = ""
        self.best: Best | None = None
        self._window: list[tuple[Tensor, ...]] = []
        self._logged = 0
        self._window_seconds = 0.0
        self._outputs: list[tuple[Tensor, ...]] = []

    # What a child says

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(the batch's mean loss, tensors without gradient of what else `kept` names)."""

    @abstractmethod
    def outputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """What `metrics` needs of a batch of an evaluated split."""

    @abstractmethod
    def metrics(self, *outputs: Tensor) -> dict[str, Tensor]:
        """Metrics of a whole split, from the concatenated outputs of its batches."""

    def by_class(self, *outputs: Tensor) -> Mapping[str, Sequence[float | None]]:
        """What is measured of each class, from the same; None of a class that the split has not."""
        return {}

    # Training

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device  # self.device is not there yet
        wanted = [self.train_feed, self.eval_feeds.get("val")] if stage == "fit" else [self.eval_feeds["test"]]
        for feed in wanted:
            if feed is not None:
                feed.to(device)

    def configure_optimizers(self) -> Optimizer:
        optimizer = self.make_optimizer(self.network)
        if self.regulariser is not None:
            self.regulariser.claim(optimizer)
        self._base_rates = [group["lr"] for group in optimizer.param_groups]
        return optimizer

    def train_batches(self) -> Ranges:
        """The loader for trainer.fit."""
        return Ranges(self.plan, lambda: self.clock)

    def train(self, mode: bool = True) -> Task:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def close_feeds(self) -> None:
        """Stop reading ahead."""
        for feed in (self.train_feed, *self.eval_feeds.values()):
            feed.images.close()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # Steps and indices: the feeds are on the device already.

    def on_train_start(self) -> None:
        # Lightning's own progress says "at the start of an epoch" (on_save_checkpoint); ours is the clock.
        self.trainer.fit_loop.restarting = False
        self.train()  # Lightning leaves modules as they are; the frozen ones are not to be in training mode
        self._stop_if_patience_is_over()  # a resumed run may have been over
        self._optimizer: Any = self.trainer.optimizers[0]
        wrapped: Any = self.optimizers()
        # Lightning's wrapper of a closure does not take what Newton's method says to it.
        own = self._observed != "steps" or self._asks_again
        self._take_step = self._optimizer.step if own else wrapped.step
        # Layers that have to know where a step begins: cross-mini-batch norm.
        self._stepwise: list[Any] = [module for module in self.network.modules() if hasattr(module, "begin_step")]
        self._trainable = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._average = None if self.ema is None else Ema(self.ema, self.network, self.decay or 0.0)
        self._window = [tuple(value.to(self.device) for value in values) for values in self._window]
        self._say_global_step()
        if self.compiled:
            self.network.compile(dynamic=False)  # in place: the names of the weights stay
        self._peeked = perf_counter()

    def training_step(self, steps: range, batch_idx: int) -> dict[str, Tensor] | None:
        started = perf_counter()
        alone, on_cpu = self.rank.world == 1, self.device.type == "cpu"
        for step in steps:
            self._step(step)
            self.clock = step + 1
            if alone and self.stop_requested:  # ranks agree about it at the end of a range
                break
            if on_cpu and perf_counter() - self._peeked > _PEEK:
                self.latest |= self._named(self._window_means())
                self._peeked = perf_counter()
        logs = self.plan.logs(self.clock)
        means = self.training_means() if logs else {}  # the host waits for the device here
        self._window_seconds += perf_counter() - started
        self._say_global_step()
        outputs = {"loss": self._window[-1][0]} if self._observed == "steps" else None
        if logs:
            self._log_training(means)
        return outputs

    def _step(self, step: int) -> None:
        factor = self.lr_factor(step)
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        batches: Iterable[Batch] = self.train_feed.batches(step)
        if self.attack is not None:
            batches = [self.attack(self, batch) for batch in batches]
        if self._asks_again:
            closure = Closure(self, step, list(batches))
            self._take_step(closure)
            self._window += closure.kept
        else:
            self.begin_pass(step)
            self._window += self.gradients(batches)
            self._take_step()
        if self.regulariser is not None:
            self.regulariser.after_step()
        if self._observed == "steps":  # Lightning calls this hook in automatic optimisation only
            for callback in vars(self.trainer)["callbacks"]:
                callback.on_before_zero_grad(self.trainer, self, self._optimizer)
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(first=step == 0)

    def begin_pass(self, step: int) -> None:
        """Before the batch of a step goes through the network, each time: dropout's masks are those of the step."""
        self.reseed(self.device, step)
        for module in self._stepwise:
            module.begin_step()

    def gradients(self, batches: Iterable[Batch]) -> list[tuple[Tensor, ...]]:
        """Add the gradients of a step's micro-batches to the parameters, clipped, with the weight decay that is ours.

        Returns what `kept` names of each micro-batch.
        """
        kept, parts = [], self.train_feed.accumulate
        for part, batch in enumerate(batches, 1):
            loss, others = self.loss(batch)
            self._backward(loss if parts == 1 else loss / parts, last=part == parts)
            kept.append((loss.detach(), *others))
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._trainable, self.clip_norm, foreach=True)
        if self.regulariser is not None:
            self.regulariser.before_step()
        return kept

    def _backward(self, loss: Tensor, last: bool) -> None:
        """Straight to torch: of Lightning's strategies only the one of several ranks has to know, once a step."""
        if self._observed == "steps":
            self.manual_backward(loss)
            return
        if last and self.rank.world > 1:
            self.trainer.strategy.pre_backward(loss)
        loss.backward()

    def _say_global_step(self) -> None:
        """Let trainer.global_step be the clock: Lightning counts the steps of its own wrapper of an optimizer."""
        self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = self.clock

    def stops(self) -> bool:
        """Whether somebody asked one of the ranks to stop. Every rank asks this at the same moments."""
        return distributed.any_of(self.stop_requested, self.device)

    def training_means(self) -> dict[str, float]:
        """The mean of each of `kept` since the last log, over all ranks, each of which calls this.

        Raises:
            UserError: if one is not finite: the weights are lost.
        """
        return self._named(distributed.total(self._window_means()) / self.rank.world) if self._window else {}

    def _window_means(self) -> Tensor:
        """(kept,), of this rank. All batches are of one size, and their numbers were put together nowhere else: the
        result does not depend on where a run was stopped."""
        return torch.stack([torch.stack(column).float().mean() for column in zip(*self._window, strict=True)])

    def _named(self, values: Tensor) -> dict[str, float]:
        means = values.tolist()
        if not all(map(isfinite, means)):
            raise self._lost("the loss is not finite at")
        return {f"train/{name}": mean for name, mean in zip(self.kept, means, strict=True)}

    def refuse_lost_weights(self) -> None:
        """Look at the weights themselves: no loss was computed after the last step.

        Raises:
            UserError: if one is not finite.
        """
        norms = torch._foreach_norm(self._trainable)  # pyright: ignore[reportPrivateImportUsage]
        if not torch.stack(norms).isfinite().all():
            raise self._lost("the weights are not finite after")

    def _lost(self, what: str) -> UserError:
        good = self.latest.get("train/loss")
        return UserError(
            f"{what} step {self.clock} (last good loss: {'none' if good is None else f'{good:.4g}'},"
            f" learning rate {self._optimizer.param_groups[0]['lr']:.3g}); try a smaller optimizer.lr, a warm-up"
            f" (schedule.warmup=0.05) or trainer.clip_norm=1"
        )

    def _log_training(self, means: dict[str, float]) -> None:
        lr = self._optimizer.param_groups[0]["lr"]
        speed = (self.clock - self._logged) * self.train_feed.batch_size / self._window_seconds
        self.train_seconds += self._window_seconds
        self._window, self._logged, self._window_seconds = [], self.clock, 0.0
        if self._observed:
            self.log_dict(means)
        self._publish(means | {"lr": lr, "images_per_second": speed})

    def _publish(self, values: dict[str, float]) -> None:
        self.latest |= values
        self.record(self.clock, self.plan.epochs_at(self.clock), values)

    # Evaluation

    @property
    def evaluated(self) -> nn.Module:
        """The network that counts: the averaged one, if weights are averaged."""
        return self.network if self.ema is None else self.ema

    def predictions(self, batch: Batch) -> Tensor:
        """(N, K), of the network that counts; the mean over the views of each sample."""
        return self.evaluated(batch.images).float().unflatten(0, (-1, len(batch.labels))).mean(0)

    def eval_batches(self, part: str) -> Indices | None:
        """The loader of a split for trainer.fit and trainer.test; None if there is no such split."""
        return Indices(len(self.eval_feeds[part])) if part in self.eval_feeds else None

    def on_validation_epoch_start(self) -> None:
        self._outputs = []
        distributed.share_buffers(self.evaluated)

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, index: int, batch_idx: int) -> None:
        self._evaluate("val", index)

    def test_step(self, index: int, batch_idx: int) -> None:
        self._evaluate("test", index)

    def _evaluate(self, part: str, index: int) -> None:
        feed = self.eval_feeds[part]
        self.status = f"{part} {index + 1}/{len(feed)}"
        # Not compiled: the last batch is short, and a compilation costs more than it would save here.
        with torch.compiler.set_stance("force_eager") if self.compiled else nullcontext():
            if (batch := feed.batch(index)) is not None:
                self._outputs.append(self.outputs(batch))

    def _measured(self, part: str) -> dict[str, float]:
        """The metrics of a split, while its outputs are on the device; `gathered` keeps them on the host."""
        feed = self.eval_feeds[part]
        mine = tuple(torch.cat(parts) for parts in zip(*self._outputs, strict=True))
        outputs = mine if self.rank.world == 1 else self._in_order(mine, feed.batch_size)
        counted = len(outputs[0])
        assert counted == feed.samples, f"{counted} of {feed.samples} samples of {part} were counted"
        values = {f"{part}/{name}": value.item() for name, value in self.metrics(*outputs).items()}
        self.gathered, self._outputs, self.status = tuple(output.cpu() for output in outputs), [], ""
        return values

    def _in_order(self, mine: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
        """The outputs of all ranks, which took turns with batches of `size`, in the order of the samples."""
        theirs = distributed.gathered(tuple(output.cpu() for output in mine))
        turns = zip_longest(*(zip(*(output.split(size) for output in outputs), strict=True) for outputs in theirs))
        batches = [batch for turn in turns for batch in turn if batch is not None]
        return tuple(torch.cat(parts).to(self.device) for parts in zip(*batches, strict=True))

    def on_validation_epoch_end(self) -> None:
        values = self._measured("val")
        if self._observed:
            self.log_dict(values)
        self._publish(values)
        self.best = Best.after(self.best, values[f"val/{self.monitor}"], self.clock)
        if isinstance(self.lr_factor, Observer):
            self.lr_factor.observe(values[f"val/{self.monitor}"])
        self._stop_if_patience_is_over()

    def on_test_epoch_end(self) -> None:
        self.test_metrics = self._measured("test")

    def _stop_if_patience_is_over(self) -> None:
        if self.best is not None and self.patience is not None:
            waited = (self.clock - self.best.reached) // self.plan.steps_per_epoch
            self.trainer.should_stop = self.trainer.should_stop or waited >= self.patience

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        epoch = self.clock // self.plan.steps_per_epoch
        checkpoint["epoch"], checkpoint["global_step"] = epoch, self.clock
        checkpoint["loops"] = at_epoch_start(epoch)
        checkpoint["task"] = {
            "clock": self.clock,
            "window": distributed.gathered([torch.stack(column).cpu() for column in zip(*self._window, strict=True)]),
            "logged": self._logged,
            "latest": self.latest,
            "best": None if self.best is None else tuple(self.best),
            "train_seconds": self.train_seconds,
            "window_seconds": self._window_seconds,
            "schedule": self.lr_factor.state_dict() if isinstance(self.lr_factor, Observer) else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["task"]
        self.clock, self._logged = state["clock"], state["logged"]
        self._window = list(zip(*(column.unbind() for column in state["window"][self.rank.index]), strict=True))
        self.latest, self.best = dict(state["latest"]), None if state["best"] is None else Best(*state["best"])
        self.train_seconds, self._window_seconds = state["train_seconds"], state["window_seconds"]
        if isinstance(self.lr_factor, Observer):
            self.lr_factor.load_state_dict(state["schedule"])
