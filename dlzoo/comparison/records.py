"""Checks of the records of runs: failures, data, code, machine and length of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from dlzoo.comparison.dependence import determines
from dlzoo.comparison.design import Arm, Design
from dlzoo.comparison.finding import Finding, by_level, join_items
from dlzoo.comparison.levels import level
from dlzoo.runs.differences import Config

Record = Mapping[str, Any]

#: Facts about the environment of a training, and the settings that change them on purpose.
_ENVIRONMENT = {
    "device": ("trainer.accelerator", "trainer.threads"),
    "precision": ("trainer.precision", "trainer.accelerator"),
    "ranks": ("trainer.devices", "trainer.nodes"),
    "git_commit": (),
}
#: Settings of the data that do not change its samples.
_ONLY_BATCHES = ("batch_size", "sampler", "cache", "download")
#: Trainings whose lengths differ by less than this factor count as equally long.
_AS_LONG = 1.1


def has_validation(config: Config, record: Record) -> bool:
    """Return whether a run has a validation split, from its record, or before it ran from its config."""
    sizes = record.get("data_sizes")
    return "val" in sizes if isinstance(sizes, Mapping) else config["data"]["val_fraction"] > 0


def check_failures(design: Design, records: Sequence[Record]) -> list[Finding]:
    """Return a finding for arms with failed runs that were not repeated: the remaining ones are a biased sample."""
    lost, empty = [], []
    for arm, runs in design.arms.items():
        states = [[records[place].get("state") for place in places] for places in runs.values()]
        failed = sum("failed" in each and "finished" not in each for each in states)
        of_arm = f" of {design.label(arm)}" if design.factors else ""
        if failed == len(runs):
            empty.append(f"all {failed} runs{of_arm}" if failed > 1 else f"the only run{of_arm}")
        elif failed:
            lost.append(f"{failed} of {len(runs)} runs{of_arm}")
    sentences = []
    if lost:
        its = "its mean is" if len(lost) == 1 else "their means are"
        sentences.append(f"{join_items(lost)} failed: {its} over the others")
    if empty:
        sentences.append(f"{join_items(empty)} failed: {'it is' if len(empty) == 1 else 'they are'} left out")
    return [Finding("lost", "; ".join(sentences))] if sentences else []


def check_data(configs: Sequence[Config], records: Sequence[Record]) -> list[Finding]:
    """Return findings for data that differs though its settings are equal: changed files, or another machine's."""
    fingerprints: dict[tuple[tuple[str, Any], ...], set[str]] = {}
    for config, record in zip(configs, records, strict=True):
        if isinstance(fingerprint := record.get("data_fingerprint"), str):
            settings = tuple((key, level(value)) for key, value in config["data"].items() if key not in _ONLY_BATCHES)
            fingerprints.setdefault(settings, set()).add(fingerprint)
    return [
        Finding(
            "data",
            f"runs with the same settings of data={dict(settings)['name']} had different data"
            f" ({join_items(sorted(prints))}): its files were changed; repeat those runs",
        )
        for settings, prints in fingerprints.items()
        if len(prints) > 1
    ]


def check_environment(design: Design, records: Sequence[Record]) -> list[Finding]:
    """Return findings for versions, devices and commits that are not the same for all runs."""
    meant = {key for factor in design.factors for key in (factor.key, *factor.follows)}.union(design.joint)
    facts = {
        name: [_as_text(record.get(name)) for record in records]
        for name, settings in _ENVIRONMENT.items()
        if not meant.intersection(settings)
    }
    versions = [_versions(record) for record in records]
    facts |= {name: [_as_text(each.get(name)) for each in versions] for name in dict.fromkeys(chain(*versions))}
    arm_of = {place: arm for arm, runs in design.arms.items() for places in runs.values() for place in places}
    arms = [arm_of[place] for place in range(len(records))]
    findings = [each for name, values in facts.items() if (each := _check_fact(name, values, arms, design))]
    dirty = sum(str(record.get("git_commit")).endswith("-dirty") for record in records)
    if dirty:
        text = f"{dirty} of {len(records)} runs were made with uncommitted changes to the code (-dirty)"
        findings.append(Finding("environment", f"{text}: commit them before runs that others should reproduce"))
    return findings


def _versions(record: Record) -> Mapping[str, Any]:
    versions = record.get("versions")
    return versions if isinstance(versions, Mapping) else {}


def _as_text(fact: Any) -> str | None:
    """Return a fact as text, as a record may hold any type."""
    return None if fact is None else str(fact)


def _check_fact(name: str, values: Sequence[str | None], arms: Sequence[Arm], design: Design) -> Finding | None:
    known = [(value, arm) for value, arm in zip(values, arms, strict=True) if value is not None]
    counts = Counter(value for value, _ in known)
    if len(counts) < 2:
        return None
    along = [
        factor.key
        for place, factor in enumerate(design.factors)
        if factor.key in design.compared and determines([arm[place] for _, arm in known], [value for value, _ in known])
    ]
    values_of_runs = join_items(
        f"{value} ({count} run{'' if count == 1 else 's'})" for value, count in counts.most_common()
    )
    what = f", and changes along with {' and '.join(along)}" if along else ""
    text = f"{name} is not the same for all runs{what}: {values_of_runs}; use the same for all runs"
    return Finding("environment", text)


def check_length(configs: Sequence[Config], design: Design, records: Sequence[Record]) -> list[Finding]:
    """Return findings for trainings that early stopping ended after numbers of steps that depend on the factor."""
    stopped = {
        place: record["steps"]
        for place, (config, record) in enumerate(zip(configs, records, strict=True))
        if isinstance(record.get("steps"), int) and config["trainer"]["early_stopping"] is not None
    }
    steps = {
        arm: fmean(counts)
        for arm, runs in design.arms.items()
        if (counts := [stopped[place] for places in runs.values() for place in places if place in stopped])
    }
    uneven: dict[str, dict[Any, set[int]]] = {}
    for pair in design.pairs():
        one, other = steps.get(pair.arm), steps.get(pair.baseline)
        if one and other and max(one, other) > _AS_LONG * min(one, other):
            lengths = uneven.setdefault(pair.factor.key, {})
            lengths.setdefault(pair.against, set()).add(round(other))
            lengths.setdefault(pair.level, set()).add(round(one))
    return [
        Finding(
            "steps",
            "early stopping ended the trainings after different numbers of steps"
            f" ({by_level(key, {at: sorted(each) for at, each in lengths.items()})}), which is part of the comparison;"
            " to train all for as long, set trainer.early_stopping=null",
        )
        for key, lengths in uneven.items()
    ]
