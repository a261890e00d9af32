"""Settings that belong to no registry: those of the run, of a sweep and of the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dlzoo.core.schema import BelowOne, Fraction, Positive, PositiveInt, Processes, Seed


@dataclass(frozen=True)
class RunSettings:
    """Top-level settings of a config. `hooks`: what happens beside the training, such as loggers."""

    seed: Seed = 0
    name: str | None = None
    run_dir: str | None = None
    init_from: str | None = None
    freeze: Literal["none", "backbone"] | PositiveInt = "none"
    hooks: tuple[str, ...] = ("tensorboard",)


@dataclass(frozen=True)
class SweepSettings:
    """`dir`: folder of the runs (null: outputs/<name>). `dry_run`: only print what would be run. `strict`: an unfair
    comparison is an error, not a warning.
    """

    dir: str | None = None
    dry_run: bool = False
    strict: bool = False


@dataclass(frozen=True)
class TrainerSettings:
    """Training of a run.

    `max_epochs`, `max_steps`: number of epochs and, if given, of optimizer steps; the first to be reached ends the run,
    also inside an epoch.
    `accelerator`: "auto" is the GPU if torch sees one, otherwise the CPU.
    `precision`: "auto" is bf16 on a GPU that supports it, fp16 on an older GPU with tensor cores (T4, V100), otherwise
    fp32. fp16 scales the loss as torch.amp.GradScaler does, and skips a step whose gradients are not finite.
    `threads`: CPU threads of torch; null: torch's default.
    `accumulate`: number of micro-batches per optimizer step; the batch stays data.batch_size (batch norm sees the
    micro-batch).
    `checkpoint_activations`: keep only the inputs of the blocks of a model for the backward pass, and compute the rest
    again: less memory, the same results, about a third more time. For models with stages (resnet18, densenet121, ...),
    and detectors with such a backbone.
    `devices`: number of processes per machine that share each batch, one per GPU, or on the CPU; "all" is every GPU of
    this machine. `nodes`: number of machines; for more than one, start the processes by torchrun or executor=slurm.
    `compile`: train with torch.compile; the first steps are slow, later ones faster.
    `clip_norm`: largest norm of the gradient; 1 by default, because without it some pairs of model and norm diverge at
    the default rate. `ema`: decay of the averaged weights, which are then evaluated.
    `validate_every_epochs`, or `validate_every_steps` (optimizer steps, also inside an epoch): how often the network is
    validated, beside the end of the run. `monitor`: the validation metric that `select`, `early_stopping` and
    schedule=plateau follow (val/f1_macro, or f1_macro); null: the first one of the task. `early_stopping`: validations
    without a better value. `select`: which weights are tested.
    `self_adversarial`: largest adversarial change of a pixel before each training step, as a fraction of the pixels'
    range (SAT, arXiv:2004.10934, section 3.4).
    `log_every`, `checkpoint_every`: optimizer steps. `keep_every`: epochs after which a copy of the checkpoint is kept,
    as checkpoints/epoch_0010.ckpt. `keep_best`: number of best validations of which the checkpoints are kept, as
    checkpoints/best_epoch_0007.ckpt. `limit_batches`: maximal number of batches per epoch and split.
    """

    max_epochs: PositiveInt = 20
    max_steps: PositiveInt | None = None
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    devices: Processes | Literal["all"] = 1
    nodes: Processes = 1
    compile: bool = False
    threads: Processes | None = None
    accumulate: PositiveInt = 1
    checkpoint_activations: bool = False
    clip_norm: Positive | None = 1.0
    self_adversarial: Fraction = 0.0
    ema: BelowOne | None = None
    validate_every_epochs: PositiveInt = 1
    validate_every_steps: PositiveInt | None = None
    monitor: str | None = None
    early_stopping: PositiveInt | None = None
    select: Literal["best", "last"] = "best"
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt | None = None
    keep_every: PositiveInt | None = None
    keep_best: PositiveInt | None = None
    limit_batches: PositiveInt | None = None


@dataclass(frozen=True)
class PredictSettings:
    """`on_bad`: a file that is not a complete image is an error, or left out. `full_size`: images of more than 4
    megapixels are drawn in their full size.
    """

    on_bad: Literal["error", "skip"] = "error"
    full_size: bool = False
