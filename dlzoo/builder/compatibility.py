"""What cannot go together, said before anything is built."""

from __future__ import annotations

from typing import Any

from dlzoo.boxes.objects import objects
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.data.image_set import Split
from dlzoo.data.splits import Splits

Config = dict[str, Any]

#: What a task asks of a loss.
_KIND = {"classify": "classification", "regress": "regression", "detect": "objects"}
#: What each kind of loss is for, in words; what is for offsets is for numbers.
_LABELS = {"classification": "classes", "regression": "numbers", "boxes": "boxes", "objects": "objects"}


def refuse_odd_ones(config: Config, data: Splits, world: int) -> None:
    """Look at whether the choices of a config can meet, on this data and so many processes.

    Raises:
        UserError: for choices that cannot, with those that could.
    """
    _refuse_model(config, data)
    if data.task == "detect":
        _refuse_nothing_to_find(val=data.val, test=data.test)
    _refuse_augment(config, data)
    _refuse_loss(config, data)
    _refuse_optimizer(config, world)
    if _meta("schedule", config).get("validation") and data.val is None:
        name = config["schedule"]["name"]
        raise UserError(f"schedule={name} follows validation, and there is none: data.val_fraction > 0")
    if config["trainer"]["early_stopping"] and data.val is None:
        raise UserError("trainer.early_stopping needs a validation split: data.val_fraction > 0")


def remarks(config: Config) -> list[str]:
    """What a user should know of choices that go together all the same."""
    found, optimizer = [], config["optimizer"]["name"]
    if not _meta("loss", config).get("learns", True):
        found.append(f"loss={config['loss']['name']} has no gradient: nothing will be learnt")
    still = {"data.batch_size": "full", "augment": "none", "schedule": "constant"}
    chosen = (config["data"]["batch_size"], config["augment"]["name"], config["schedule"]["name"])
    asked = [f"{key}={wanted}" for (key, wanted), value in zip(still.items(), chosen, strict=True) if value != wanted]
    if _meta("optimizer", config).get("alone") and asked:
        found.append(f"optimizer={optimizer} is for a loss that stays the same from step to step: {' '.join(asked)}")
    return found


def kind_of_loss(config: Config, data: Splits) -> str:
    """What the loss has to be for: of numbers that are corners of boxes, for "boxes"."""
    return _meta("data", config).get("targets", _KIND[data.task])


def full_precision(config: Config) -> bool:
    """Whether the optimizer needs losses to the last digit."""
    return _meta("optimizer", config).get("alone", False)


def mixes_labels(config: Config) -> bool:
    """Whether the labels of a training batch are probabilities."""
    return config["augment"]["mixup"] > 0 or config["augment"]["cutmix"] > 0


def _refuse_model(config: Config, data: Splits) -> None:
    name, meta, of = config["model"]["name"], _meta("model", config), config["data"]["name"]
    if "backbone" in meta and data.kind != "boxes":
        sets = _named("data", "boxes")
        what = "is a table" if data.kind == "table" else "has one class an image"
        raise UserError(f"model={name} finds objects in images, and data={of} {what}; choose another model, or {sets}")
    if "backbone" not in meta and data.kind == "boxes":
        detectors = _named("model", "backbone")
        raise UserError(f"model={name} gives one class an image, and data={of} has objects; choose {detectors}")
    if meta.get("targets") == "boxes" and config["model"]["pairs"] < len(data.train):
        raise UserError(f"model.pairs={config['model']['pairs']} is less than the {len(data.train)} pairs of data={of}")
    if data.kind == "table" and not meta.get("tables"):
        raise UserError(f"model={name} is for images, and data={of} is a table; choose {_named('model', 'tables')}")


def _named(choice: str, mark: str) -> str:
    """The entries whose registration has a mark, as a user would type them."""
    names = [name for name, entry in index.entries(choice).items() if entry["meta"].get(mark)]
    return " or ".join(f"{choice}={name}" for name in names)


def _refuse_augment(config: Config, data: Splits) -> None:
    augment, of = config["augment"], config["data"]["name"]
    if data.kind == "boxes":
        if not _meta("augment", config).get("boxes"):
            raise UserError(
                f"augment={augment['name']} moves pixels and no boxes, and data={of} has objects; choose"
                f" {_named('augment', 'boxes')}"
            )
        steps = augment.get("steps", ()) if augment["name"] == "several" else ()
        unfit = [step for step in steps if not index.entries("augment").get(step, {"meta": {}})["meta"].get("boxes")]
        if unfit:
            raise UserError(f"augment.steps: {unfit[0]} moves pixels and no boxes; choose {_named('augment', 'boxes')}")
        asked = ["augment.cutmix"] if augment["cutmix"] else []
        asked += [f"augment.test={augment['test']}"] if augment["test"] != "none" else []
        if asked:
            raise UserError(f"{asked[0]} is for images of one class, and data={of} has objects")
        return
    if data.kind != "table":
        return
    asked = [f"augment.{key}={augment[key]}" for key in ("cutout", "cutmix") if augment[key]]
    asked += [f"augment={augment['name']}"] if augment["name"] != "none" else []
    asked += [f"augment.test={augment['test']}"] if augment["test"] != "none" else []
    asked += ["trainer.self_adversarial"] if config["trainer"]["self_adversarial"] else []
    if asked:
        raise UserError(f"{asked[0]} is for images, and data={of} is a table")


def _refuse_loss(config: Config, data: Splits) -> None:
    name, meta, wanted = config["loss"]["name"], _meta("loss", config), kind_of_loss(config, data)
    kinds = index.kinds(name)
    if wanted not in kinds and not (wanted == "boxes" and "regression" in kinds):
        fits = " and ".join(_LABELS[kind] for kind in kinds if kind in _LABELS and kind != "objects")
        raise UserError(
            f"loss={name} is for {fits}, and data={config['data']['name']} has {_LABELS[wanted]}; choose"
            f" {_losses(wanted)}"
        )
    link = config["loss"].get("link")
    if data.task == "regress" and link not in (None, "identity"):
        raise UserError(f"loss.link={link} is for classes, and data={config['data']['name']} has numbers; leave it out")
    if data.task == "detect" or not mixes_labels(config):
        return
    mixing = "mixup" if config["augment"]["mixup"] > 0 else "cutmix"
    if data.task == "regress":
        raise UserError(f"augment.{mixing} mixes classes, and data={config['data']['name']} has numbers to predict")
    if not meta.get("soft"):
        raise UserError(
            f"loss={name} needs one class a sample, and augment.{mixing} mixes them; choose {_losses(soft=True)}"
        )


def _losses(kind: str = "classification", soft: bool = False) -> str:
    metas = {name: entry["meta"] for name, entry in index.entries("loss").items()}
    return " or ".join(
        f"loss={name}"
        for name, meta in metas.items()
        if kind in index.kinds(name) and meta.get("learns", True) and (meta.get("soft") or not soft)
    )


def _refuse_optimizer(config: Config, world: int) -> None:
    name, meta = config["optimizer"]["name"], _meta("optimizer", config)
    if meta.get("needs") == "linear" and not _meta("model", config).get("linear"):
        raise UserError(
            f"optimizer={name} is for linear models (model=linear), and model={config['model']['name']} is none;"
            " choose optimizer=lbfgs or optimizer=adam"
        )
    several = config["optimizer"]["decay"] != "all" or config["optimizer"]["layer_decay"] < 1
    if several and not meta.get("groups", True):
        raise UserError(f"optimizer={name} takes all parameters alike: optimizer.decay=all and optimizer.layer_decay=1")
    if meta.get("alone") and world > 1:
        raise UserError(f"optimizer={name} works in one process: trainer.devices=1, not {world} of them")
    if meta.get("alone") and config["trainer"]["precision"] == "bf16":
        raise UserError(f"optimizer={name} needs trainer.precision=fp32: its steps are small differences of losses")
    if meta.get("needs") == "linear" and config["trainer"]["compile"]:
        raise UserError(
            f"optimizer={name} differentiates twice, which a compiled network cannot: trainer.compile=false"
        )


def _meta(choice: str, config: Config) -> dict[str, Any]:
    return index.entries(choice)[config[choice]["name"]]["meta"]


def _refuse_nothing_to_find(**parts: Split | None) -> None:
    """Say before the training what would be noticed after it.

    Raises:
        UserError: for a part without objects that count.
    """
    for name, part in parts.items():
        if part is not None:
            found = objects(part.labels)
            if not (found.there & ~found.difficult).any():
                raise UserError(
                    f"none of the {len(part)} images of {name} has an object that counts: choose other data"
                    " (data.val_fraction, data.limit)"
                )
