"""Incompatible choices, refused before anything is built."""

from __future__ import annotations

from typing import Any

from dlzoo.core import index
from dlzoo.core.entries import TaskMarks
from dlzoo.core.errors import UserError
from dlzoo.core.registries import TASKS
from dlzoo.data.splits import Splits

Config = dict[str, Any]

#: What each kind of target is, in words; offsets count as numbers.
_WORDS = {"classification": "classes", "regression": "numbers", "boxes": "boxes", "objects": "objects"}


def refuse_odd_ones(config: Config, data: Splits, world: int) -> None:
    """Look at whether the choices of a config can meet, on this data and so many processes.

    Raises:
        UserError: for choices that cannot, with those that could.
    """
    task = index.marks("task", data.task)
    _refuse_model(config, data, task)
    _refuse_augment(config, data, task)
    if data.is_table:
        _refuse_pixels(config)
    _refuse_loss(config, data, task)
    TASKS.build(data.task).refuse(config, data)
    _refuse_optimizer(config, world)
    if _marks("schedule", config).validation and data.val is None:
        name = config["schedule"]["name"]
        raise UserError(f"schedule={name} needs a validation split: data.val_fraction > 0")
    if config["trainer"]["early_stopping"] and data.val is None:
        raise UserError("trainer.early_stopping needs a validation split: data.val_fraction > 0")


def remarks(config: Config) -> list[str]:
    """What a user should know of choices that go together all the same."""
    found, optimizer = [], config["optimizer"]["name"]
    if not _marks("loss", config).learns:
        found.append(f"loss={config['loss']['name']} has no gradient: nothing will be learnt")
    still = {"data.batch_size": "full", "augment": "none", "schedule": "constant"}
    chosen = (config["data"]["batch_size"], config["augment"]["name"], config["schedule"]["name"])
    asked = [f"{key}={wanted}" for (key, wanted), value in zip(still.items(), chosen, strict=True) if value != wanted]
    if full_precision(config) and asked:
        found.append(f"optimizer={optimizer} is for a loss that stays the same from step to step: {' '.join(asked)}")
    return found


def full_precision(config: Config) -> bool:
    """Whether the optimizer needs losses to the last digit."""
    return _marks("optimizer", config).full_batch


def _refuse_model(config: Config, data: Splits, task: TaskMarks) -> None:
    name, marks, of = config["model"]["name"], _marks("model", config), config["data"]["name"]
    if data.task not in marks.tasks:
        models = _named("model", lambda other: data.task in other.tasks and (other.tables or not data.is_table))
        sets = _named("data", lambda other: bool({*marks.tasks} & {*other.tasks}))
        raise UserError(
            f"model={name} is for {_targets_of(marks.tasks)}, and data={of} has {task.targets_are}; choose {models},"
            f" or {sets}"
        )
    if data.is_table and not marks.tables:
        tables = _named("model", lambda other: other.tables)
        raise UserError(f"model={name} is for images, and data={of} is a table; choose {tables}")


def _targets_of(tasks: tuple[str, ...]) -> str:
    return " and ".join(index.marks("task", task).targets_are for task in tasks)


def _named(choice: str, admits: Any) -> str:
    """The entries whose marks are admitted, as a user would type them."""
    names = [name for name in index.available(choice) if admits(index.marks(choice, name))]
    more = f" or {len(names) - 6} more" if len(names) > 8 else ""
    return " or ".join(f"{choice}={name}" for name in (names[:6] if more else names)) + more


def _refuse_augment(config: Config, data: Splits, task: TaskMarks) -> None:
    """Refuse an augmentation that leaves behind what has to move with the pixels."""
    augment, of = config["augment"], config["data"]["name"]
    steps = augment.get("steps", ()) if augment["name"] == "several" else ()
    for moving in task.moves:
        fits = _named("augment", lambda other, moving=moving: moving in other.moves)
        for key, name in (("augment", augment["name"]), *(("augment.steps", step) for step in steps)):
            if name in index.available("augment") and moving not in index.marks("augment", name).moves:
                raise UserError(
                    f"{key}: {name} moves pixels and no {moving}, and data={of} has {task.targets_are}; choose {fits}"
                )


def _refuse_pixels(config: Config) -> None:
    """Refuse what needs pixels, of a table."""
    augment, of = config["augment"], config["data"]["name"]
    used = [f"augment.{key}={augment[key]}" for key in ("cutout", "cutmix") if augment[key]]
    used += [f"augment={augment['name']}"] if augment["name"] != "none" else []
    used += [f"augment.test={augment['test']}"] if augment["test"] != "none" else []
    used += ["trainer.self_adversarial"] if config["trainer"]["self_adversarial"] else []
    if used:
        raise UserError(f"{used[0]} is for images, and data={of} is a table")


def _refuse_loss(config: Config, data: Splits, task: TaskMarks) -> None:
    name, marks = config["loss"]["name"], _marks("loss", config)
    kinds = _marks("data", config).targets or (task.target,)
    if not set(kinds) & set(marks.targets):
        takes = " and ".join(_WORDS[kind] for kind in marks.targets if kind in _WORDS and kind != "objects")
        losses = _named("loss", lambda other: kinds[0] in other.targets and other.learns)
        has = _WORDS.get(kinds[0], task.targets_are)
        raise UserError(
            f"loss={name} is for {takes or ' and '.join(marks.targets)}, and data={config['data']['name']} has {has};"
            f" choose {losses}"
        )


def _refuse_optimizer(config: Config, world: int) -> None:
    name, marks = config["optimizer"]["name"], _marks("optimizer", config)
    if marks.linear and not _marks("model", config).linear:
        raise UserError(
            f"optimizer={name} is for linear models (model=linear), but model={config['model']['name']} is not linear;"
            " choose optimizer=lbfgs or optimizer=adam"
        )
    several = config["optimizer"]["decay"] != "all" or config["optimizer"]["layer_decay"] < 1
    if several and not marks.groups:
        raise UserError(f"optimizer={name} takes all parameters alike: optimizer.decay=all and optimizer.layer_decay=1")
    if marks.full_batch and world > 1:
        raise UserError(f"optimizer={name} works in one process: trainer.devices=1, not {world} of them")
    if marks.full_batch and config["trainer"]["precision"] == "bf16":
        raise UserError(f"optimizer={name} needs trainer.precision=fp32: its steps are small differences of losses")
    if marks.linear and config["trainer"]["compile"]:
        raise UserError(
            f"optimizer={name} differentiates twice, which a compiled network cannot: trainer.compile=false"
        )


def _marks(choice: str, config: Config) -> Any:
    return index.marks(choice, config[choice]["name"])
