"""Settings that change along with a compared factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlzoo.comparison.defaults import default_value, own_settings
from dlzoo.comparison.design import Arm, Design, Factor, Pair
from dlzoo.comparison.finding import Finding, by_level
from dlzoo.comparison.levels import is_number, level
from dlzoo.runs.differences import Config, flatten

#: Level of the factor -> the values of a setting at that level.
Values = dict[Any, list[Any]]

#: Settings that determine the number of steps, or of training samples.
_BUDGET = (
    *("trainer.max_epochs", "trainer.max_steps", "trainer.limit_batches", "trainer.early_stopping"),
    *("data.batch_size", "data.limit", "data.imbalance", "data.val_fraction"),
)
_PRETRAINED = ("model.pretrained", "init_from")
#: Settings of all optimizers of which each has its own default.
_OF_OPTIMIZERS = {"optimizer.lr": "learning rate", "optimizer.weight_decay": "weight decay"}


def confounding(configs: Sequence[Config], design: Design) -> list[Finding]:
    """Return a finding for each setting that differs between the arms of pairs, but is not part of the comparison."""
    settings = {arm: design.settings(arm) for arm in design.arms}
    typical = {arm: configs[next(iter(runs.values()))[0]] for arm, runs in design.arms.items()}
    pairs, findings = design.pairs(), []
    for factor in design.factors:
        of_factor = [pair for pair in pairs if pair.factor.key == factor.key]
        differences = _differences(of_factor, settings, typical)
        findings += [each for key, values in differences.items() if (each := _finding(factor, key, values))]
        if any(config["trainer"]["select"] == "best" for config in typical.values()):
            findings += _check_selection(factor, differences.get("data.val_fraction", {}))
        if factor.key == "optimizer":
            findings += _check_optimizers(factor, of_factor, typical, design)
        if factor.key == "data.batch_size" and of_factor:
            limited = all(config["trainer"].get("max_steps") is not None for config in typical.values())
            findings.append(_steps(differences.get("trainer.max_epochs", {}), limited=limited))
    return findings


def _differences(
    pairs: Sequence[Pair], settings: Mapping[Arm, Mapping[str, Any]], configs: Mapping[Arm, Config]
) -> dict[str, Values]:
    """Return setting -> its values by level, for settings that differ in some pair for no other reason."""
    differences: dict[str, Values] = {}
    for pair in pairs:
        one, other = settings[pair.arm], settings[pair.baseline]
        for key in one.keys() & other.keys():  # a setting of only one arm belongs to a choice that differs as well
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
            values = differences.setdefault(key, {})
            for at, value in ((pair.against, other[key]), (pair.level, one[key])):
                if value not in values.setdefault(at, []):
                    values[at].append(value)
    return dict(sorted(differences.items()))


def _finding(factor: Factor, key: str, values: Values) -> Finding | None:
    where = by_level(factor.key, values)
    section, of_factor = key.partition(".")[0], factor.key.partition(".")[0]
    if section == factor.key and all(key in own_settings(section, at) for at in values):
        text = f"{key} is {where}: it was set for each, and is part of the comparison"
        return None if key in _OF_OPTIMIZERS else Finding("own settings", text)
    if key in _BUDGET:
        text = f"{key} is {where}: the arms differ in training time or data; use the same {key} for all"
        return None if _have_equal_steps(factor, key, values) else Finding("budget", text)
    if key in _PRETRAINED and not all(value for each in values.values() for value in each):
        text = f"{key} is {where}: only some start from pretrained weights; use them for all, or for none"
        return Finding("pretrained", text)
    if key == "trainer.select":
        text = (
            f"{key} is {where}: the best epoch of some is compared with the last of others; use the same {key} for all"
        )
        return Finding("selection", text)
    if section in ("data", "augment") and of_factor not in ("data", "augment"):
        return Finding("data", f"{key} is {where}: the arms differ in training data; use the same {key} for all")
    text = (
        f"{key} changes along with {factor.key} ({where}): their effects cannot be told apart;"
        f" use the same {key} for all, or run all combinations"
    )
    return Finding("confounded", text)


def _check_selection(factor: Factor, fractions: Values) -> list[Finding]:
    """Return a finding if only some arms have a validation split, and with it a best epoch."""
    if 0 not in {bool(value) for each in fractions.values() for value in each}:
        return []
    text = (
        f"data.val_fraction is {by_level(factor.key, fractions)}: with a validation split the best epoch is tested,"
        " without one the last; set trainer.select=last, or use a validation split for all"
    )
    return [Finding("selection", text)]


def _check_optimizers(
    factor: Factor, pairs: Sequence[Pair], configs: Mapping[Arm, Config], design: Design
) -> list[Finding]:
    """Return findings for learning rates and weight decays that differ between optimizers."""
    findings = []
    for key, name in _OF_OPTIMIZERS.items():
        values: Values = {}
        for arm in [arm for pair in pairs for arm in (pair.baseline, pair.arm)]:
            settings = flatten(configs[arm])
            known = values.setdefault(settings["optimizer"], [])
            if settings[key] not in known:
                known.append(settings[key])
        if key not in {each.key for each in design.factors} and len(set(map(tuple, values.values()))) > 1:
            text = (
                f"{key} is {by_level(factor.key, values)}: each optimizer has its own {name}, and how well it is tuned"
                f" is part of the comparison; tune every optimizer equally"
            )
            findings.append(Finding("own settings", text))
    return findings


def _have_equal_steps(factor: Factor, key: str, values: Values) -> bool:
    """Return whether the compared batch sizes are trained for the same number of steps, if not epochs."""
    if factor.key != "data.batch_size" or key != "trainer.max_epochs" or not all(map(is_number, values)):
        return False
    return len({epochs / size for size, each in values.items() for epochs in each}) == 1


def _steps(epochs: Values, *, limited: bool) -> Finding:
    if limited:
        text = "with equal steps (trainer.max_steps), a small batch size sees fewer samples than a large one"
    elif epochs:
        text = "the compared batch sizes are trained for different numbers of epochs, so of samples"
    else:
        text = "with equal epochs, a small batch size takes more steps than a large one"
    return Finding("steps", f"{text}; between batch sizes, steps and samples cannot both be equal: to compare other "
                   "settings, compare them at the same batch size")  # fmt: skip
