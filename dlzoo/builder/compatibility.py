"""Checks that the choices of a config are compatible, before anything is built."""

from __future__ import annotations

from typing import Any

from dlzoo.config import Config
from dlzoo.core import index
from dlzoo.core.entries import TaskMarks
from dlzoo.core.errors import UserError
from dlzoo.core.registries import TASKS
from dlzoo.data.splits import Splits

#: Names of the kinds of target, for messages; offsets count as numbers.
_WORDS = {"classification": "classes", "regression": "numbers", "boxes": "boxes"}


def load_data(config: Config) -> Splits:
    """Load the data of a config for its model.

    What registrations declare of the model, the loss and the augmentation is checked before, as reading or drawing the
    data may take minutes; only a data set that finds its task in its file is checked afterwards, by `check_compatible`.

    Raises:
        UserError: as `Splits.load` and `check_compatible`.
    """
    data, model = config["data"]["name"], config["model"]["name"]
    marks = index.marks("data", data)
    if not marks.finds_task:
        _check_registrations(config, index.task_of(model, data), is_table=marks.table)
    return Splits.load(config["data"], index.marks("model", model).tasks)


def check_compatible(config: Config, data: Splits, world: int) -> None:
    """Check that the choices of a config are compatible with each other, the data and `world` processes.

    Raises:
        UserError: for choices that are not, with compatible alternatives.
    """
    _check_registrations(config, data.task, is_table=data.is_table)
    TASKS.build(data.task).check_config(config, data)
    _check_optimizer(config, world)
    _check_validation(config, data)
    if config["trainer"]["checkpoint_activations"] and config["trainer"]["compile"]:
        raise UserError(
            "trainer.checkpoint_activations=true does not support torch.compile, which chooses itself what to compute"
            " again; set trainer.compile=false"
        )


def needs_full_precision(config: Config) -> bool:
    """Return whether the optimizer needs losses in full float32 precision."""
    return _marks("optimizer", config).full_batch


def _check_validation(config: Config, data: Splits) -> None:
    """Refuse settings of the validation that contradict each other, or without a validation split."""
    trainer, schedule = config["trainer"], config["schedule"]["name"]
    epochs, steps = trainer["validate_every_epochs"], trainer["validate_every_steps"]
    if epochs > 1 and steps:
        raise UserError(
            f"trainer.validate_every_epochs={epochs} and trainer.validate_every_steps={steps} are both set; keep one"
        )
    if data.val is not None:
        return
    needs = [f"schedule={schedule}"] if _marks("schedule", config).validation else []
    needs += ["trainer.validate_every_epochs"] if epochs > 1 else []
    needs += [f"trainer.{key}" for key in ("validate_every_steps", "early_stopping", "keep_best") if trainer[key]]
    if needs:
        raise UserError(f"{needs[0]} needs a validation split: data.val_fraction > 0")


def allows_loss_scale(config: Config) -> bool:
    """Return whether the optimizer computes gradients once per step, as the loss scale of fp16 requires."""
    return not _marks("optimizer", config).uses_closure


def _check_registrations(config: Config, name: str, *, is_table: bool) -> None:
    """Check the model, the augmentation and the loss against the task `name`."""
    task = index.marks("task", name)
    _check_model(config, name, is_table=is_table)
    _check_augment(config, task)
    if is_table:
        _check_pixels(config)
    _check_loss(config, task)


def _check_model(config: Config, task: str, *, is_table: bool) -> None:
    name, marks, data_name = config["model"]["name"], _marks("model", config), config["data"]["name"]
    if task not in marks.tasks:
        models = _list_entries("model", lambda other: task in other.tasks and (other.tables or not is_table))
        sets = _list_entries("data", lambda other: {*marks.tasks} & {*other.tasks} and marks.tables >= other.table)
        raise UserError(
            f"model={name} is for {_targets_of(marks.tasks)}, but data={data_name} has"
            f" {index.marks('task', task).targets_are}; choose {models}, or {sets}"
        )
    if is_table and not marks.tables:
        tables = _list_entries("model", lambda other: other.tables)
        raise UserError(f"model={name} is for images, but data={data_name} is a table; choose {tables}")


def _targets_of(tasks: tuple[str, ...]) -> str:
    return " and ".join(index.marks("task", task).targets_are for task in tasks)


def _list_entries(choice: str, admits: Any) -> str:
    """Return the entries whose marks pass `admits`, as a user would type them."""
    names = [name for name in index.available(choice) if admits(index.marks(choice, name))]
    more = f" or {len(names) - 6} more" if len(names) > 8 else ""
    return " or ".join(f"{choice}={name}" for name in (names[:6] if more else names)) + more


def _check_augment(config: Config, task: TaskMarks) -> None:
    """Refuse an augmentation that moves pixels but not the targets that must move with them."""
    augment, data_name = config["augment"], config["data"]["name"]
    steps = augment.get("steps", ()) if augment["name"] == "several" else ()
    for moving in task.moves:
        fits = _list_entries("augment", lambda other, moving=moving: moving in other.moves)
        for key, name in (("augment", augment["name"]), *(("augment.steps", step) for step in steps)):
            if name in index.available("augment") and moving not in index.marks("augment", name).moves:
                raise UserError(
                    f"{key}: {name} moves pixels but not {moving}, and data={data_name} has {task.targets_are};"
                    f" choose {fits}"
                )


def _check_pixels(config: Config) -> None:
    """Refuse settings that need images, for a table."""
    augment, data_name = config["augment"], config["data"]["name"]
    used = [f"augment.{key}={augment[key]}" for key in ("cutout", "cutmix") if augment[key]]
    used += [f"augment={augment['name']}"] if augment["name"] != "none" else []
    used += [f"augment.test={augment['test']}"] if augment["test"] != "none" else []
    used += ["trainer.self_adversarial"] if config["trainer"]["self_adversarial"] else []
    if used:
        raise UserError(f"{used[0]} is for images, but data={data_name} is a table")


def _check_loss(config: Config, task: TaskMarks) -> None:
    name, marks = config["loss"]["name"], _marks("loss", config)
    kinds = _marks("data", config).targets or (task.target,)
    if not set(kinds) & set(marks.targets):
        takes = " and ".join(_WORDS[kind] for kind in marks.targets if kind in _WORDS)
        losses = _list_entries("loss", lambda other: kinds[0] in other.targets and other.learns)
        has = _WORDS.get(kinds[0], task.targets_are)
        raise UserError(
            f"loss={name} is for {takes or ' and '.join(marks.targets)}, but data={config['data']['name']} has {has};"
            f" choose {losses}"
        )


def _check_optimizer(config: Config, world: int) -> None:
    name, marks = config["optimizer"]["name"], _marks("optimizer", config)
    if marks.linear and not _marks("model", config).linear:
        raise UserError(
            f"optimizer={name} is for linear models (model=linear), but model={config['model']['name']} is not linear;"
            " choose optimizer=lbfgs or optimizer=adam"
        )
    needs_groups = config["optimizer"]["decay"] != "all" or config["optimizer"]["layer_decay"] < 1
    if needs_groups and not marks.groups:
        raise UserError(
            f"optimizer={name} does not support parameter groups; set optimizer.decay=all and optimizer.layer_decay=1"
        )
    if marks.full_batch and world > 1:
        raise UserError(f"optimizer={name} runs in one process, not {world}; set trainer.devices=1")
    if marks.full_batch and config["trainer"]["precision"] in ("bf16", "fp16"):
        raise UserError(f"optimizer={name} compares losses that differ little; set trainer.precision=fp32")
    if marks.uses_closure and config["trainer"]["precision"] == "fp16":
        raise UserError(
            f"optimizer={name} computes gradients more than once per step, which the loss scale of"
            " trainer.precision=fp16 does not support; set trainer.precision=fp32 or bf16"
        )
    if marks.linear and config["trainer"]["compile"]:
        raise UserError(
            f"optimizer={name} needs second derivatives, which torch.compile does not support;"
            " set trainer.compile=false"
        )


def _marks(choice: str, config: Config) -> Any:
    return index.marks(choice, config[choice]["name"])
