"""Fairness of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from dlzoo.comparison.confounding import confounding
from dlzoo.comparison.design import Arm, Design, Factor
from dlzoo.comparison.finding import Finding, by_level, join_items
from dlzoo.comparison.levels import ABSENT, is_number, present_levels
from dlzoo.comparison.records import Record, check_data, check_environment, check_failures, check_length, has_validation
from dlzoo.runs.differences import Config, format_value

if TYPE_CHECKING:
    from dlzoo.comparison.statistics import Effect

#: Kinds of findings that a fair comparison may have; the others make it unfair.
MILD = frozenset({"own settings", "steps", "repeated", "environment", "noise"})


def findings(configs: Sequence[Config], design: Design, records: Sequence[Record] | None = None) -> list[Finding]:
    """Return the cautions of a comparison, the most serious first.

    Args:
        configs: one for each run.
        design: the design of the comparison.
        records: the run.json of each, in any state; None before the runs exist.
    """
    result = [
        *confounding(configs, design),
        *_check_levels(design),
        *_check_trials(design),
        *_check_rate(configs, design),
        *_check_selection(configs, design, records),
        *_check_repeated(design),
    ]
    if records is not None:
        result += check_failures(design, records)
        result += check_data(configs, records)
        result += check_length(configs, design, records)
        result += check_environment(design, records)
    return sorted(dict.fromkeys(result), key=lambda finding: finding.kind in MILD)


def noise_findings(effects: Iterable[tuple[str, Effect, str]]) -> list[Finding]:
    """Return a finding for undecided comparisons whose difference is smaller than seed-to-seed variation, if any.

    Args:
        effects: (label, effect, verdict) of each comparison.
    """
    effects = list(effects)
    small = [label for label, effect, verdict in effects if is_within_noise(effect, verdict)]
    if not small:
        return []
    which = join_items(small) if len(small) <= 2 else f"in {len(small)} of {len(effects)} comparisons"
    return [Finding("noise", f"the difference is smaller than the seed-to-seed variation: {which}")]


def is_within_noise(effect: Effect, verdict: str) -> bool:
    """Return whether a comparison is undecided with a difference smaller than the standard deviation over seeds."""
    return verdict == "undecided" and effect.noise is not None and abs(effect.difference) < effect.noise


def opposite_sign(effect: Effect) -> float | None:
    """Return the probability that one seed of each arm (the same if paired) shows a difference of the other sign.

    None if the seed-to-seed variation is unknown.
    """
    noise = effect.noise
    if noise is None:
        return None
    spread = sqrt(2) * noise if effect.deviation is None or not effect.paired else effect.deviation
    return NormalDist().cdf(-abs(effect.difference) / spread) if spread else 0.0


def _check_levels(design: Design) -> list[Finding]:
    """Return findings for levels that cannot be compared with their baseline."""
    paired = {(pair.factor.key, pair.level) for pair in design.pairs()}
    cautions = []
    for factor in design.factors:
        if factor.key not in design.compared:
            continue
        against = design.baseline[factor.key]
        unpaired = [at for at in present_levels(factor.levels) if at != against and (factor.key, at) not in paired]
        if unpaired:
            names = " and ".join(f"{factor.key}={format_value(at)}" for at in unpaired)
            others = " and ".join(other.key for other in design.factors if other is not factor)
            text = (
                f"{names} cannot be compared with {factor.key}={format_value(against)}: no runs have the same {others}"
            )
            cautions.append(Finding("confounded", f"{text}; run both with the same values"))
    return cautions


def _check_trials(design: Design) -> list[Finding]:
    """Return findings for levels tried with more values of a setting than others, whose best looks better by chance."""
    cautions = []
    for place, factor in enumerate(design.factors):
        for at, other in enumerate(design.factors):
            if factor.key not in design.compared or not _is_tuned(other, design):
                continue
            tried: dict[Any, set[Any]] = {}
            for arm in design.arms:
                tried.setdefault(arm[place], set()).add(arm[at])
            counts = {known: [len(tried[known])] for known in factor.levels if known is not ABSENT}
            if len({count for (count,) in counts.values()}) > 1:
                text = (
                    f"{other.key} was tried with different numbers of values ({by_level(factor.key, counts)}): the best"
                    " of many looks better by chance; try the same number for each, or compare each value separately"
                )
                cautions.append(Finding("own settings" if ABSENT in other.levels else "budget", text))
    return cautions


def _is_tuned(factor: Factor, design: Design) -> bool:
    """Return whether a factor is a parameter whose best value may be selected; parameters of the data are not."""
    return "." in factor.key and not factor.key.startswith("data.") and factor.key not in design.compared


def _check_rate(configs: Sequence[Config], design: Design) -> list[Finding]:
    """Return a finding if all batch sizes use the same learning rate."""
    keys = [factor.key for factor in design.factors]
    if "data.batch_size" not in keys or "optimizer.lr" in keys or "optimizer.lr_reference_batch" in keys:
        return []
    place = keys.index("data.batch_size")
    rates: dict[Arm, dict[Any, float | None]] = {}
    for arm, runs in design.arms.items():
        rate = _effective_rate(configs[next(iter(runs.values()))[0]])
        rates.setdefault((*arm[:place], *arm[place + 1 :]), {})[arm[place]] = rate
    same = [set(each.values()) for each in rates.values() if len(each) > 1]
    equal = sorted({rate for each in same if len(each) == 1 for rate in each if rate is not None})
    if not equal:
        return []
    text = (
        f"the learning rate ({join_items(map(format_value, equal))}) is the same for all batch sizes, and suits at most"
        " one; set optimizer.lr_reference_batch=N, with the batch size N that it was found for"
    )
    return [Finding("learning rate", text)]


def _effective_rate(config: Config) -> float | None:
    """Return the learning rate in use; None if it depends on the size of the data."""
    rate, reference = config["optimizer"]["lr"], config["optimizer"]["lr_reference_batch"]
    size = config["data"]["batch_size"]
    if reference is None:
        return rate
    return None if isinstance(size, str) else rate * size / reference


def _check_selection(configs: Sequence[Config], design: Design, records: Sequence[Record] | None) -> list[Finding]:
    """Return a finding if the best of several values can only be selected on the test split."""
    tuned = [
        factor.key
        for factor in design.factors
        if all(map(is_number, present_levels(factor.levels))) and not factor.key.startswith("data.")
    ]
    known = records or [{}] * len(configs)
    without = [config for config, record in zip(configs, known, strict=True) if not has_validation(config, record)]
    if not tuned or not without:
        return []
    text = (
        f"there is no validation split (data.val_fraction=0): selecting a value of {' or '.join(tuned)} by these"
        " results would select it on the test split; set data.val_fraction=0.1"
    )
    return [Finding("selection", text)]


def _check_repeated(design: Design) -> list[Finding]:
    """Return a finding for runs with the same settings and the same seed."""
    again = [
        f"{design.label(arm)} seed={seed}"
        for arm, runs in design.arms.items()
        for seed, places in runs.items()
        if len(places) > 1
    ]
    if not again:
        return []
    return [
        Finding(
            "repeated", f"some runs were made more than once ({join_items(again)}): the one that finished last counts"
        )
    ]
