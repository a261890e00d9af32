"""Notes before the first step, on choices that are allowed but hardly do what they are for."""

from __future__ import annotations

from torch import nn

from dlzoo.builder.compatibility import needs_full_precision
from dlzoo.builder.profile import Profile
from dlzoo.config import Config
from dlzoo.config.data_defaults import data_defaults_in_use
from dlzoo.core import index
from dlzoo.data.splits import Splits
from dlzoo.engine.clock import TrainSchedule
from dlzoo.layers.norm import group_notes
from dlzoo.optim.settings import Span
from dlzoo.tasks.base import TaskSpec

#: With a larger weight of the first step in the average than this, the averaged weights have hardly moved.
_STILL = 0.5
#: Validation results of fewer samples are noisy: a share of one half has a standard error of 0.07 or more.
_FEW = 50


def notes(config: Config, data: Splits, spec: TaskSpec, schedule: TrainSchedule, network: nn.Module) -> list[str]:
    """Return notes on the choices of a config, for this data, length of the run and network."""
    return [
        *group_notes(config["norm"], network),
        *_on_data_defaults(config),
        *_on_learning(config),
        *_on_schedule(config["schedule"], schedule),
        *_on_average(config["trainer"]["ema"], schedule.steps),
        *_on_frozen(config),
        *_on_validation(data),
        *data.source.notes(),
        *spec.notes(data),
    ]


def memory_notes(
    profile: Profile, micro_batch: int, batch_size: int, available: int, *, checkpoint: bool = False
) -> list[str]:
    """Return a note if a training needs more than the `available` bytes of memory.

    Args:
        profile: of a training step of `micro_batch` images.
        micro_batch, batch_size: images in a forward pass, and in a step.
        available: bytes of memory for this process.
        checkpoint: whether activations are computed again, and not kept.
    """
    few = profile.checkpointed
    activations = few if checkpoint and few is not None else profile.activations
    needed = profile.fixed + activations
    if needed <= available:
        return []
    fitting = int((available - profile.fixed) / activations * micro_batch)
    would_fit = not checkpoint and few is not None and profile.fixed + few <= available
    less = ", or trainer.checkpoint_activations=true" if would_fit else ""
    says = f"a step needs about {needed / 1e9:,.0f} GB of memory, more than the {available / 1e9:,.0f} GB here"
    if fitting < 1:
        return [f"{says}; choose a smaller model, or smaller images{less}"]
    fits = (1 << (fitting.bit_length() - 1)) * (batch_size // micro_batch)
    return [f"{says}; data.batch_size={fits} fits, or a larger trainer.accumulate{less}"]


def _on_validation(data: Splits) -> list[str]:
    """Return a note on a validation split that is too small to select weights or settings by."""
    if data.val is None or len(data.val) >= _FEW:
        return []
    count, settings = len(data.val), data.settings
    if settings.limit is not None and settings.limit < _FEW:
        advice = "set a larger data.limit"
    elif data.source.val is not None:
        advice = "add samples to it"
    elif len(data.train) + count >= 2 * _FEW:
        advice = "set a larger data.val_fraction"
    else:
        advice = "compare runs with several data.split_seed"
    samples = "1 sample" if count == 1 else f"{count} samples"
    return [f"the validation split has {samples}, so each is worth {1 / count:.1%} of a validation result: {advice}"]


def _on_data_defaults(config: Config) -> list[str]:
    used = data_defaults_in_use(config)
    return [f"defaults for this data: {' '.join(used)}"] if used else []


def _on_learning(config: Config) -> list[str]:
    sentences, optimizer = [], config["optimizer"]["name"]
    if not index.marks("loss", config["loss"]["name"]).learns:
        sentences.append(f"loss={config['loss']['name']} has no gradient: the network will not learn")
    still = {"data.batch_size": "full", "augment": "none", "schedule": "constant"}
    chosen = (config["data"]["batch_size"], config["augment"]["name"], config["schedule"]["name"])
    advised = [f"{key}={fixed}" for (key, fixed), value in zip(still.items(), chosen, strict=True) if value != fixed]
    if needs_full_precision(config) and advised:
        sentences.append(
            f"optimizer={optimizer} assumes that the loss function is the same at every step; set {' '.join(advised)}"
        )
    return sentences


def _on_schedule(section: Config, schedule: TrainSchedule) -> list[str]:
    """Return a note for each time in the schedule that lies beyond the run."""
    span, epochs = Span(schedule.steps, schedule.steps_per_epoch), schedule.epochs
    whole = schedule.steps % schedule.steps_per_epoch == 0
    run = f"the run ({epochs} epoch{'s' if epochs > 1 else ''})" if whole else f"the run ({schedule.steps:,} steps)"
    sentences = []
    if schedule.max_steps is not None and schedule.max_steps > schedule.steps:
        sentences.append(
            f"trainer.max_steps={schedule.max_steps} is not reached: trainer.max_epochs={schedule.max_epochs} ends the"
            f" run after {schedule.steps:,} steps; set trainer.max_epochs={schedule.epochs_begun(schedule.max_steps)}"
        )
    if span.at(section["warmup"]) > schedule.steps:
        sentences.append(f"schedule.warmup={section['warmup']:g} is longer than {run}: optimizer.lr is never reached")
    late = [f"{time:g}" for time in section.get("milestones", ()) if span.at(time) >= schedule.steps]
    if late:
        sentences.append(f"schedule.milestones: {' and '.join(late)} are after the end of {run} and have no effect")
    if span.at(section.get("every", 0)) >= schedule.steps:
        sentences.append(f"schedule.every={section['every']:g} is not shorter than {run}: the rate never falls")
    return sentences


def _on_average(ema: float | None, steps: int) -> list[str]:
    if ema is None or steps == 1 or ema ** (steps - 1) <= _STILL:
        return []
    return [
        f"trainer.ema={ema:g} averages over about {1 / (1 - ema):,.0f} steps, but the run has {steps:,}: the averaged"
        " weights, which are tested, hardly move; set it lower, or train for longer"
    ]


def _on_frozen(config: Config) -> list[str]:
    pretrained = any(config[key].get("pretrained") for key in ("model", "backbone"))
    if config["freeze"] == "none" or config["init_from"] or pretrained:
        return []
    key = "backbone" if "pretrained" in config["backbone"] else "model"
    return [
        f"freeze={config['freeze']} freezes random weights: start from trained ones with init_from=RUN or"
        f" {key}.pretrained=true"
    ]
