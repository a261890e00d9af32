"""Settings that belong to no registry: the run's own and the trainer's. Each field is a knob of the config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dlzoo.core.schema import Bounds, Fraction, NonNegativeInt, Positive, PositiveInt


@dataclass(frozen=True)
class RunSettings:
    """What stands at the top of a config."""

    seed: NonNegativeInt = 0
    name: str | None = None
    run_dir: str | None = None
    init_from: str | None = None
    freeze: Literal["none", "backbone"] | PositiveInt = "none"


@dataclass(frozen=True)
class SweepSettings:
    """How many runs are carried out: `dir` holds them (null: outputs/<name>); `dry_run` only says what would happen;
    `strict` refuses what is no fair comparison, which is otherwise only said.
    """

    dir: str | None = None
    dry_run: bool = False
    strict: bool = False


@dataclass(frozen=True)
class TrainerSettings:
    """How a run is trained.

    `accumulate`: micro-batches that an optimizer step's batch is worked through in; the batch stays data.batch_size
    (batch norm sees the micro-batch).
    `devices`: processes a machine that share each batch, one a GPU or, on the CPU, so many; "all" is every GPU of this
    machine. `nodes`: machines; beyond one, torchrun or executor=slurm starts the processes.
    `compile`: torch.compile for the training; slow first steps, faster ones after them.
    `clip_norm`: the gradient's largest norm; one by default, because without it some pairs of model and norm diverge at
    the usual rate. `ema`: decay of the averaged weights that are then evaluated.
    `early_stopping`: epochs without a better validation score. `select`: which weights are tested.
    `self_adversarial`: how far the network may move each pixel against itself before it learns from the image, as a
    share of the pixels' range (SAT, arXiv:2004.10934, section 3.4).
    `log_every`, `checkpoint_every`: optimizer steps. `limit_batches`: so many batches of each epoch and split.
    """

    max_epochs: PositiveInt = 20
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    devices: PositiveInt | Literal["all"] = 1
    nodes: PositiveInt = 1
    compile: bool = False
    threads: Annotated[int, Bounds(minimum=1, maximum=1024)] | None = None
    accumulate: PositiveInt = 1
    clip_norm: Positive | None = 1.0
    self_adversarial: Fraction = 0.0
    ema: Fraction | None = None
    early_stopping: PositiveInt | None = None
    select: Literal["best", "last"] = "best"
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt | None = None
    limit_batches: PositiveInt | None = None
