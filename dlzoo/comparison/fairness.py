"""Whether a comparison compares what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from dlzoo.comparison.confounding import confounding
from dlzoo.comparison.design import Arm, Design, Factor
from dlzoo.comparison.finding import Finding, by_level, listed
from dlzoo.comparison.levels import ABSENT, is_number, present
from dlzoo.comparison.records import Record, check_data, check_environment, check_failures, check_length, has_validation
from dlzoo.runs.differences import Config, format_value

if TYPE_CHECKING:
    from dlzoo.comparison.statistics import Effect

#: Kinds that a reader has to know of, and that a fair comparison may have; the others make it unfair.
MILD = frozenset({"own settings", "steps", "repeated", "environment", "noise"})


def findings(configs: Sequence[Config], design: Design, records: Sequence[Record] | None = None) -> list[Finding]:
    """What a reader has to know of a comparison, the gravest first.

    Args:
        configs: one a run.
        design: what they are a comparison of.
        records: the run.json of each, however far it is; None before there are any.
    """
    found = [
        *confounding(configs, design),
        *_unmatched(design),
        *_trials(design),
        *_rate(configs, design),
        *_selection(configs, design, records),
        *_repeated(design),
    ]
    if records is not None:
        found += check_failures(design, records)
        found += check_data(configs, records)
        found += check_length(configs, design, records)
        found += check_environment(design, records)
    return sorted(dict.fromkeys(found), key=lambda finding: finding.kind in MILD)


def noise_findings(effects: Iterable[tuple[str, Effect, str]]) -> list[Finding]:
    """The undecided comparisons whose difference is smaller than what the seed alone does, in one finding or none.

    Args:
        effects: (what is compared, its effect, its verdict).
    """
    small = [
        f"{label} (difference {abs(effect.difference):.2g}, noise {effect.noise:.2g}: one seed of each would show the"
        f" opposite sign in {100 * _opposite(effect, effect.noise):.0f} % of cases)"
        for label, effect, verdict in effects
        if verdict == "undecided" and effect.noise is not None and abs(effect.difference) < effect.noise
    ]
    if not small:
        return []
    text = f"the difference is smaller than what the seed alone does: {listed(small)}"
    return [Finding("noise", text)]


def _opposite(effect: Effect, noise: float) -> float:
    """How often one seed of each arm, the same of both if they are paired, shows a difference of the other sign."""
    spread = sqrt(2) * noise if effect.deviation is None or not effect.paired else effect.deviation
    return NormalDist().cdf(-abs(effect.difference) / spread) if spread else 0.0


def _unmatched(design: Design) -> list[Finding]:
    """Levels that nothing can be held against."""
    met = {(pair.factor.key, pair.level) for pair in design.pairs()}
    found = []
    for factor in design.factors:
        if factor.key not in design.compared:
            continue
        against = design.baseline[factor.key]
        alone = [at for at in present(factor.levels) if at != against and (factor.key, at) not in met]
        if alone:
            names = " and ".join(f"{factor.key}={format_value(at)}" for at in alone)
            others = " and ".join(other.key for other in design.factors if other is not factor)
            text = (
                f"{names} cannot be held against {factor.key}={format_value(against)}: no runs have the same {others}"
            )
            found.append(Finding("confounded", f"{text}; train both with the same"))
    return found


def _trials(design: Design) -> list[Finding]:
    """Levels that were tried with more values of a setting than others: the best of many looks better by chance."""
    found = []
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
                    " of many looks better by chance; try as many for each, or look at each by itself"
                )
                found.append(Finding("own settings" if ABSENT in other.levels else "budget", text))
    return found


def _is_tuned(factor: Factor, design: Design) -> bool:
    """Whether it is a knob that one may pick the best value of; the data is none."""
    return "." in factor.key and not factor.key.startswith("data.") and factor.key not in design.compared


def _rate(configs: Sequence[Config], design: Design) -> list[Finding]:
    """Batch sizes that all learn with the same rate."""
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
        f"the learning rate ({listed(map(format_value, equal))}) is the same for all batch sizes, and suits at most"
        " one; set optimizer.lr_reference_batch=N, with the batch size N that it was found for"
    )
    return [Finding("learning rate", text)]


def _effective_rate(config: Config) -> float | None:
    """The rate that is used; None if it depends on the size of the data."""
    rate, reference = config["optimizer"]["lr"], config["optimizer"]["lr_reference_batch"]
    size = config["data"]["batch_size"]
    if reference is None:
        return rate
    return None if isinstance(size, str) else rate * size / reference


def _selection(configs: Sequence[Config], design: Design, records: Sequence[Record] | None) -> list[Finding]:
    """Values that one may pick the best of, where there is nothing but the test split to pick by."""
    tuned = [
        factor.key
        for factor in design.factors
        if all(map(is_number, present(factor.levels))) and not factor.key.startswith("data.")
    ]
    known = records or [{}] * len(configs)
    without = [config for config, record in zip(configs, known, strict=True) if not has_validation(config, record)]
    if not tuned or not without:
        return []
    text = (
        f"there is no validation split (data.val_fraction=0): to pick a value of {' or '.join(tuned)} by these numbers"
        " is to pick it on the test split; say data.val_fraction=0.1"
    )
    return [Finding("selection", text)]


def _repeated(design: Design) -> list[Finding]:
    """Runs of the same settings and the same seed."""
    again = [
        f"{design.label(arm)} seed={seed}"
        for arm, runs in design.arms.items()
        for seed, places in runs.items()
        if len(places) > 1
    ]
    if not again:
        return []
    return [
        Finding("repeated", f"some runs were made more than once ({listed(again)}): the one that finished last counts")
    ]
