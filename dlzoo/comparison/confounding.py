"""Settings that change along with what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlzoo.comparison.defaults import default_value, own_settings
from dlzoo.comparison.design import Arm, Design, Factor, Pair
from dlzoo.comparison.finding import Finding, by_level
from dlzoo.comparison.levels import is_number, level
from dlzoo.runs.differences import Config, flat

#: level of the factor -> the values that a setting has there.
Values = dict[Any, list[Any]]

#: What decides how many steps are made, or how many samples are seen.
_BUDGET = (
    *("trainer.max_epochs", "trainer.limit_batches", "trainer.early_stopping"),
    *("data.batch_size", "data.limit", "data.imbalance", "data.val_fraction"),
)
_PRETRAINED = ("model.pretrained", "init_from")
#: What every optimizer has, and each has its own default of.
_OF_OPTIMIZERS = {"optimizer.lr": "learning rate", "optimizer.weight_decay": "weight decay"}


def confounding(configs: Sequence[Config], design: Design) -> list[Finding]:
    """A finding for each setting that differs between the arms of pairs, and is no part of what is compared."""
    settings = {arm: design.settings(arm) for arm in design.arms}
    typical = {arm: configs[next(iter(runs.values()))[0]] for arm, runs in design.arms.items()}
    pairs, found = design.pairs(), []
    for factor in design.factors:
        its_own = [pair for pair in pairs if pair.factor.key == factor.key]
        differences = _differences(its_own, settings, typical)
        found += [each for key, values in differences.items() if (each := _finding(factor, key, values))]
        if any(config["trainer"]["select"] == "best" for config in typical.values()):
            found += _selected(factor, differences.get("data.val_fraction", {}))
        if factor.key == "optimizer":
            found += _optimizers(factor, its_own, typical, design)
        if factor.key == "data.batch_size" and its_own:
            found.append(_steps(differences.get("trainer.max_epochs", {})))
    return found


def _differences(
    pairs: Sequence[Pair], settings: Mapping[Arm, Mapping[str, Any]], configs: Mapping[Arm, Config]
) -> dict[str, Values]:
    """Setting -> its values by level, of the settings that differ in some pair for no other reason."""
    found: dict[str, Values] = {}
    for pair in pairs:
        one, other = settings[pair.arm], settings[pair.baseline]
        for key in one.keys() & other.keys():  # what only one of them has belongs to a choice that differs as well
            section = key.partition(".")[0]
            if (
                one[key] == other[key]
                or key == pair.factor.key
                or (section not in (key, pair.factor.key) and one.get(section) != other.get(section))
                or all(
                    settings[arm][key] == level(default_value(key, configs[arm])) for arm in (pair.arm, pair.baseline)
                )
            ):
                continue
            values = found.setdefault(key, {})
            for at, value in ((pair.against, other[key]), (pair.level, one[key])):
                if value not in values.setdefault(at, []):
                    values[at].append(value)
    return dict(sorted(found.items()))


def _finding(factor: Factor, key: str, values: Values) -> Finding | None:
    where = by_level(factor.key, values)
    section, of_factor = key.partition(".")[0], factor.key.partition(".")[0]
    if section == factor.key and all(key in own_settings(section, at) for at in values):
        text = f"{key} is {where}: it was set for each, and is part of what is compared"
        return None if key in _OF_OPTIMIZERS else Finding("own settings", text)
    if key in _BUDGET:
        text = f"{key} is {where}: they are not trained for as long, or not on as much; give all the same {key}"
        return None if _as_many_steps(factor, key, values) else Finding("budget", text)
    if key in _PRETRAINED and not all(value for each in values.values() for value in each):
        text = f"{key} is {where}: only some start from trained weights; let all of them, or none"
        return Finding("pretrained", text)
    if key == "trainer.select":
        text = f"{key} is {where}: the best epoch of some is held against the last of others; give all the same {key}"
        return Finding("selection", text)
    if section in ("data", "augment") and of_factor not in ("data", "augment"):
        return Finding("data", f"{key} is {where}: they do not learn from the same data; give all the same {key}")
    text = (
        f"{key} changes along with {factor.key} ({where}): their effects cannot be told apart;"
        f" give all the same {key}, or try each with each"
    )
    return Finding("confounded", text)


def _selected(factor: Factor, fractions: Values) -> list[Finding]:
    """Of arms of which some have validation, and so a best epoch, and others do not."""
    if 0 not in {bool(value) for each in fractions.values() for value in each}:
        return []
    text = (
        f"data.val_fraction is {by_level(factor.key, fractions)}: with validation the best epoch is tested, and the"
        " last one without; say trainer.select=last, or give all a validation split"
    )
    return [Finding("selection", text)]


def _optimizers(factor: Factor, pairs: Sequence[Pair], configs: Mapping[Arm, Config], design: Design) -> list[Finding]:
    """Rates and weight decays that are each optimizer's own, by default or as somebody said."""
    found = []
    for key, name in _OF_OPTIMIZERS.items():
        values: Values = {}
        for arm in [arm for pair in pairs for arm in (pair.baseline, pair.arm)]:
            settings = flat(configs[arm])
            known = values.setdefault(settings["optimizer"], [])
            if settings[key] not in known:
                known.append(settings[key])
        if key not in {each.key for each in design.factors} and len(set(map(tuple, values.values()))) > 1:
            text = (
                f"{key} is {by_level(factor.key, values)}: each optimizer has a {name} of its own, and how well it"
                f" suits is part of what is compared; try several of each, as many for all"
            )
            found.append(Finding("own settings", text))
    return found


def _as_many_steps(factor: Factor, key: str, values: Values) -> bool:
    """Whether batch sizes are compared that are trained for as many steps, if not epochs."""
    if factor.key != "data.batch_size" or key != "trainer.max_epochs" or not all(map(is_number, values)):
        return False
    return len({epochs / size for size, each in values.items() for epochs in each}) == 1


def _steps(epochs: Values) -> Finding:
    if epochs:
        text = "the batch sizes that are compared are not trained for as many epochs: they do not see as many samples"
    else:
        text = "at equal epochs a small batch size makes more steps than a large one"
    return Finding("steps", f"{text}; of different batch sizes steps and samples cannot both be equal: to compare "
                   "anything else, compare within a batch size")  # fmt: skip
