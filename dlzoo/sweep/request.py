"""What a person asks for: settings of all runs, those that vary, and what is to be learnt from them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dlzoo.config import COMPARE_ONLY, choices
from dlzoo.config.overrides import parse
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.schema import NonNegative, PositiveInt, check, schema_of
from dlzoo.runs.differences import format_value
from dlzoo.sweep.experiment import Written, at_scale, head, named, read, settings


@dataclass(frozen=True)
class Asked:
    """A sweep, as far as a line says it.

    Args:
        words: settings, of which some stand for several values.
        typed: the whole line, to be repeated by.
        common: settings of every run that its address need not say.
        arms: settings that vary together, an arm a list; none where only `words` vary.
        name: what it is called if nobody names it.
        kind: what an unnamed one's name begins with.
        baseline, metric, margin: how the report is to look at it.
        question, expected: what it is about, and what is known of the answer.
    """

    words: list[str]
    typed: list[str] = field(default_factory=list)
    common: list[str] = field(default_factory=list)
    arms: list[list[str]] = field(default_factory=list)
    name: str | None = None
    kind: str = "sweep"
    baseline: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None
    question: str | None = None
    expected: str | None = None


def of_sweep(words: Sequence[str]) -> Asked:
    """The line of `python train.py -m`; an experiment that compares brings what it varies."""
    typed = ["python", "train.py", "-m", *words]
    if named(words) is None:
        return Asked(list(words), typed)
    return of_comparison(words, typed)


def of_comparison(words: Sequence[str], typed: Sequence[str] = ()) -> Asked:
    """The line of `dlzoo compare`.

    A word is a setting (norm=bn,gn; data.batch_size=4), an arm ("model=resnet20 model.width=20": several settings in
    quotes), experiment=NAME, or one of `COMPARE_ONLY`. What is said on the line replaces what the file says.

    Raises:
        UserError: for what cannot be read.
    """
    if not words:
        raise UserError("say what is compared: dlzoo compare norm=bn,gn base='data.batch_size=4' seeds=8")
    own = {key: _own(words, key) for key in COMPARE_ONLY}
    rest = [word for word in words if word.partition("=")[0] not in COMPARE_ONLY]
    several = _keys([shlex.split(word) for word in rest if _is_arm(word)])
    # An arm may be a single setting, beside others that are several.
    arms = [shlex.split(word) for word in rest if _is_arm(word) or word.partition("=")[0] in several]
    rest = [word for word in rest if not _is_arm(word) and word.partition("=")[0] not in several]
    _refuse_twice(rest, arms, own)
    name, written, about = named(words), Written(), dict[str, str]()
    common = settings("base", own["base"] or "")
    if name is not None:
        written, about = read(name), head(name)
        rest.remove(f"experiment={name}")
        at = at_scale(name, written, own["scale"])
        written = replace(written, arms=[shlex.split(word) for word in at if _is_arm(word)] or written.arms)
        common = [f"experiment={name}", *(word for word in at if not _is_arm(word)), *common]
    elif own["scale"] is not None:
        raise UserError("scale=... is for an experiment that compares: experiment=NAME scale=tiny")
    keys = {word.partition("=")[0] for word in rest}
    typed_keys = _keys(arms) | keys
    vary = [
        f"{key}={','.join(map(format_value, values))}" for key, values in written.vary.items() if key not in typed_keys
    ]
    if not arms and not keys & _keys(written.arms) & set(choices()):  # another optimizer has other knobs
        arms = written.arms
    if own["seeds"] is not None or "seed" not in keys:
        seeds = _number("seeds", own["seeds"], PositiveInt) if own["seeds"] is not None else written.seeds
        rest = [*(word for word in rest if word.partition("=")[0] != "seed"), f"seed=range({seeds})"]
    return Asked(
        words=[*vary, *rest],
        typed=list(typed or ["dlzoo", "compare", *words]),
        common=_other_than(typed_keys, common),
        arms=arms,
        name=None if name is None else name + (f"_{own['scale']}" if own["scale"] else ""),
        kind="compare",
        baseline=own["baseline"].split() if own["baseline"] else _other_than(typed_keys, written.baseline),
        metric=own["metric"] or written.metric,
        margin=_number("margin", own["margin"], NonNegative) if own["margin"] is not None else written.margin,
        question=about.get("question"),
        expected=about.get("expected"),
    )


def _refuse_twice(words: Sequence[str], arms: Sequence[Sequence[str]], own: Mapping[str, str | None]) -> None:
    """What is said twice, and would have to mean one of the two.

    Raises:
        UserError: for the first such thing, or a metric that nothing measures.
    """
    base = settings("base", own["base"] or "")
    for where, several in (("the line", words), ("base", base), *(("an arm", arm) for arm in arms)):
        keys = [word.partition("=")[0] for word in several]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise UserError(f"{where} says {twice[0]} twice; several values are {twice[0]}=a,b")
    if both := (_keys([words]) | _keys(arms)) & _keys([base]):
        raise UserError(f"base and the line both say {min(both)}; say it once")
    if len({frozenset(arm) for arm in arms}) < len(arms):
        raise UserError("two arms are the same")
    if own["seeds"] is not None and "seed" in _keys([words, *arms]):
        raise UserError("seeds=... and seed=... both say which seeds; say one of them")
    if own["metric"] is not None and own["metric"].rpartition("/")[2] not in index.metrics():
        raise UserError(
            f"metric={own['metric']}: nothing measures that; {did_you_mean(own['metric'], index.metrics())}"
        )


def _keys(arms: Sequence[Sequence[str]]) -> set[str]:
    return {word.partition("=")[0] for arm in arms for word in arm}


def _other_than(keys: Collection[str], words: Sequence[str]) -> list[str]:
    """The settings that the line does not say itself."""
    return [word for word in words if word.partition("=")[0] not in keys]


def _is_arm(word: str) -> bool:
    """Whether a word is several settings, and not one whose value has a blank."""
    try:
        parts = shlex.split(word)
    except ValueError:
        return False
    return len(parts) > 1 and all("=" in part for part in parts)


def _own(words: Sequence[str], key: str) -> str | None:
    said = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
    if len(said) > 1:
        raise UserError(f"{key} is said twice")
    return said[0] if said else None


def _number(key: str, text: str, kind: Any) -> Any:
    """The value of a word, read as that of a setting is."""
    try:
        return check(schema_of(kind), parse(f"{key}={text}").value())
    except ValueError as error:
        raise UserError(f"{key} {error}") from None
