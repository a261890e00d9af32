"""Parse the words of a sweep or comparison: settings of all runs, varying settings, and options of the report."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlzoo.config import COMPARE_ONLY, choices, conf_dirs, is_path
from dlzoo.config.overrides import parse, refuse_twice
from dlzoo.core import index, own_parts
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.schema import NonNegative, PositiveInt, check, schema_of
from dlzoo.runs.differences import format_value
from dlzoo.sweep.experiment import ComparisonSpec, named_comparison, read, read_head, scale_settings, settings


@dataclass(frozen=True)
class SweepRequest:
    """A requested sweep.

    Args:
        words: settings, some of them with several values.
        typed: the command, to repeat the sweep.
        common: settings of every run that are not part of its address.
        arms: settings that vary together, one list per arm; empty if only `words` vary.
        written: keys that the experiment's file sets in these words, rather than the command.
        factors: settings that vary over several requests, such as those of a search.
        name: the default name.
        kind: the prefix of a generated name.
        baseline, metric, margin: options of the report.
        question, expected: those of the experiment.
    """

    words: list[str]
    typed: list[str] = field(default_factory=list)
    common: list[str] = field(default_factory=list)
    arms: list[list[str]] = field(default_factory=list)
    written: Collection[str] = ()
    factors: Sequence[str] = ()
    name: str | None = None
    kind: str = "sweep"
    baseline: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None
    question: str | None = None
    expected: str | None = None


def parse_sweep(words: Sequence[str]) -> SweepRequest:
    """Parse the words of `python train.py -m`; an experiment that is a comparison adds its varying settings."""
    typed = ["python", "train.py", "-m", *_beside_settings(), *words]
    if named_comparison(words) is None:
        refuse_twice(words)
        return SweepRequest(list(words), typed)
    return parse_comparison(words, typed)


def parse_comparison(words: Sequence[str], typed: Sequence[str] = ()) -> SweepRequest:
    """Parse the words of `dlzoo compare`.

    A word is a setting (norm=bn,gn; data.batch_size=4), an arm ("model=resnet20 model.width=20": several settings in
    quotes), experiment=NAME, or one of `COMPARE_ONLY`. Words override the experiment's file.

    Raises:
        UserError: for words that cannot be read.
    """
    if not words:
        raise UserError("no settings to compare; try dlzoo compare norm=bn,gn base='data.batch_size=4' seeds=8")
    options = {key: _option(words, key) for key in COMPARE_ONLY}
    rest = [word for word in words if word.partition("=")[0] not in COMPARE_ONLY]
    arms, rest = _split_arms(rest)
    _refuse_twice(rest, arms, options)
    name, written, about = named_comparison(words), ComparisonSpec(), dict[str, str]()
    base, at = settings("base", options["base"] or ""), list[str]()
    if name is not None:
        written, head = read(name), read_head(name)
        about = {key: head[key] for key in ("question", "expected") if key in head}
        rest.remove(f"experiment={name}")
        at = scale_settings(name, written, options["scale"])
        written = replace(written, arms=[shlex.split(word) for word in at if _is_arm(word)] or written.arms)
        at = [f"experiment={name}", *(word for word in at if not _is_arm(word))]
    elif options["scale"] is not None:
        raise UserError("scale=... needs an experiment that is a comparison: experiment=NAME scale=tiny")
    keys = {word.partition("=")[0] for word in rest}
    typed_keys = _keys(arms) | keys
    vary = [_vary(key, values) for key, values in written.vary.items() if key not in typed_keys]
    from_file = _keys([vary, at]) - _keys([base])
    if not arms and not keys & _keys(written.arms) & set(choices()):  # another optimizer has other settings
        arms, from_file = written.arms, from_file | _keys(written.arms)
    return SweepRequest(
        words=[*vary, *_add_seeds(rest, options["seeds"], written.seeds)],
        typed=list(typed or ["dlzoo", "compare", *_beside_settings(), *words]),
        common=_drop_keys(typed_keys, [*at, *base]),
        arms=arms,
        written=from_file - typed_keys,
        name=None if name is None else _stem(name) + (f"_{options['scale']}" if options["scale"] else ""),
        kind="compare",
        baseline=options["baseline"].split() if options["baseline"] else _drop_keys(typed_keys, written.baseline),
        metric=options["metric"] or written.metric,
        margin=written.margin if options["margin"] is None else _number("margin", options["margin"], NonNegative),
        **about,
    )


def _beside_settings() -> list[str]:
    """Return the words of this command that are not settings, to repeat it: --config-dir and parts=."""
    folders = [word for folder in conf_dirs()[1:] for word in ("--config-dir", str(folder))]
    return [*folders, *(f"parts={file.origin}" for file in own_parts.in_use())]


def _stem(name: str) -> str:
    return Path(name).stem if is_path("experiment", name) else name


def _vary(key: str, values: Sequence[Any]) -> str:
    return f"{key}={','.join(map(format_value, values))}"


def _split_arms(words: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """Return (the arms, the other words). An arm may be a single setting if other arms have several."""
    keys = _keys([shlex.split(word) for word in words if _is_arm(word)])
    is_arm = [_is_arm(word) or word.partition("=")[0] in keys for word in words]
    arms = [shlex.split(word) for word, flag in zip(words, is_arm, strict=True) if flag]
    return arms, [word for word, flag in zip(words, is_arm, strict=True) if not flag]


def _add_seeds(words: list[str], seeds: str | None, default: int) -> list[str]:
    """Return the words with seed=range(N): N is `seeds`, or the default if the words set no seed."""
    if seeds is None and any(word.partition("=")[0] == "seed" for word in words):
        return words
    count = default if seeds is None else _number("seeds", seeds, PositiveInt)
    return [*(word for word in words if word.partition("=")[0] != "seed"), f"seed=range({count})"]


def _refuse_twice(words: Sequence[str], arms: Sequence[Sequence[str]], options: Mapping[str, str | None]) -> None:
    """Refuse settings that are given twice, and unknown metrics.

    Raises:
        UserError: for the first such setting, or an unknown metric.
    """
    base = settings("base", options["base"] or "")
    for where, settings_there in (("the command", words), ("base", base), *(("an arm", arm) for arm in arms)):
        refuse_twice(settings_there, where)
    if both := (_keys([words]) | _keys(arms)) & _keys([base]):
        raise UserError(f"base and the command both set {min(both)}; set it once")
    if len({frozenset(arm) for arm in arms}) < len(arms):
        raise UserError("two arms are the same")
    if options["seeds"] is not None and "seed" in _keys([words, *arms]):
        raise UserError("seeds=... and seed=... both set the seeds; use one of them")
    if options["metric"] is not None and options["metric"].rpartition("/")[2] not in index.metrics():
        raise UserError(f"metric={options['metric']} is unknown; {did_you_mean(options['metric'], index.metrics())}")


def _keys(arms: Sequence[Sequence[str]]) -> set[str]:
    return {word.partition("=")[0] for arm in arms for word in arm}


def _drop_keys(keys: Collection[str], words: Sequence[str]) -> list[str]:
    """Return the settings whose keys are not among `keys`."""
    return [word for word in words if word.partition("=")[0] not in keys]


def _is_arm(word: str) -> bool:
    """Return whether a word is several settings, rather than one whose value has a space."""
    try:
        parts = shlex.split(word)
    except ValueError:
        return False
    return len(parts) > 1 and all("=" in part for part in parts)


def _option(words: Sequence[str], key: str) -> str | None:
    values = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
    if len(values) > 1:
        raise UserError(f"{key} is set twice: {key}={values[0]} and {key}={values[1]}; keep one")
    return values[0] if values else None


def _number(key: str, text: str, kind: Any) -> Any:
    """Return the value of a word, parsed and checked like that of a setting."""
    try:
        return check(schema_of(kind), parse(f"{key}={text}").value())
    except ValueError as error:
        raise UserError(f"{key} {error}") from None
