"""Describe the result and its uncertainty in words."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Comparison, Content
from dlzoo.report.numbers import (
    capitalise,
    count_of,
    difference_digits,
    format_fixed,
    format_interval,
    format_p,
    mean_digits,
    one_line,
)

#: Most comparisons that a sentence names; of the others it gives the number.
FEW = 12
#: Larger numbers of seeds are given as "more than" this.
_MANY = 1000
_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "equivalent": "equivalent within the margin",
    "undecided": "undecided",
}


def answer(content: Content) -> list[str]:
    """Return the first sentences of a report, the shortest first."""
    if not content.comparisons:
        return _means(content)
    pairs: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in content.comparisons:
        pairs.setdefault((each.factor, each.level, each.against), []).append(each)
    sentences = [_describe_pair(content, of_pair) for of_pair in pairs.values()]
    if len(pairs) > 1:
        more = [f"{len(sentences) - FEW} more are in the table."] if len(sentences) > FEW else []
        return [_summary(content), *sentences[:FEW], *more]
    (of_pair,) = pairs.values()
    return [_headline(content, of_pair), *sentences] if len(of_pair) > 1 else sentences


def describe_comparison(comparison: Comparison) -> str:
    """Return a comparison in words: "norm=gn against norm=bn at data.batch_size=4"."""
    at = f" at {one_line(comparison.context)}" if comparison.context else ""
    return f"{_arm(comparison)} against {one_line(comparison.factor)}={one_line(comparison.against)}{at}"


def seeds_of(paired: bool, seeds: int, baseline_seeds: int) -> str:
    """Return "8 paired seeds" or "8 and 3 unpaired seeds"."""
    if paired:
        return count_of(seeds, "paired seed")
    both = str(seeds) if seeds == baseline_seeds else f"{seeds} and {baseline_seeds}"
    return f"{both} unpaired seeds"


def _means(content: Content) -> list[str]:
    digits, sentences = mean_digits(content), []
    for cell in content.cells[:FEW]:
        interval = f" (95 % interval {_range(cell.interval, digits)})" if cell.interval else ", without an interval"
        what, seeds = one_line(cell.label), count_of(len(cell.values), "seed")
        sentences.append(
            f"{capitalise(content.metric.name)} of {what}: {format_fixed(cell.mean, digits)}{interval}, {seeds}."
        )
    if len(content.cells) > FEW:
        sentences.append(f"{len(content.cells) - FEW} more are in the table.")
    return [*sentences, _why_nothing_is_compared(content)]


def _why_nothing_is_compared(content: Content) -> str:
    if not content.factors:
        return "There is nothing to compare: all runs have the same settings."
    if any(factor.compared for factor in content.factors) and not any(cell.is_baseline for cell in content.cells):
        baselines = [
            f"{one_line(each.key)}={one_line(each.baseline or '')}" for each in content.factors if each.compared
        ]
        return f"There is nothing to compare with yet: no run of the baseline {' '.join(baselines)} is finished."
    against = " ".join(
        f"{one_line(each.key)}={one_line(each.baseline or '')}" for each in content.factors if each.compared
    )
    return (
        f"There is nothing to compare: no arm differs from {against} in only that setting. Set another with --baseline."
    )


def _summary(content: Content) -> str:
    """Count the verdicts of the comparisons of several levels or factors."""
    parts = []
    for verdict, words in _VERDICTS.items():
        matching = [each for each in content.comparisons if each.verdict == verdict]
        if matching:
            several_factors = len({each.factor for each in content.comparisons}) > 1
            names = (
                f" ({'; '.join(_arm_at(each) if several_factors else level_and_context(each) for each in matching)})"
            )
            names = names if len(matching) <= FEW else ""
            parts.append(f"{len(matching)} {words}{names}")
    baselines = dict.fromkeys(f"{one_line(each.factor)}={one_line(each.against)}" for each in content.comparisons)
    comparisons = count_of(len(content.comparisons), "comparison")
    return f"{capitalise(_metric(content))}, {comparisons} with {' or '.join(baselines)}: {', '.join(parts)}."


def _headline(content: Content, comparisons: Sequence[Comparison]) -> str:
    """Summarise one level against the baseline in several contexts, without the numbers."""
    verdicts = {each.verdict for each in comparisons}
    start = f"By {_metric(content)}, {_arm(comparisons[0])}"
    than = f"{one_line(comparisons[0].factor)}={one_line(comparisons[0].against)}"
    if verdicts == {"undecided"}:
        return f"{start} is not known to differ from {than}: all {len(comparisons)} comparisons are undecided."
    parts = []
    for verdict, words in _VERDICTS.items():
        if matching := [each for each in comparisons if each.verdict == verdict]:
            where = ", ".join(_where(each, place == 0) for place, each in enumerate(matching[:FEW]))
            parts.append(f"{words} at {where}{and_more(matching)}")
    return f"{start}, compared with {than}, is {'; '.join(parts)}."


def _describe_pair(content: Content, comparisons: Sequence[Comparison]) -> str:
    """Describe one level against the baseline, in all contexts."""
    first = comparisons[0]
    if len(comparisons) == 1:
        return _describe_single(content, first)
    digits, parts = difference_digits(content), []
    for place, each in enumerate(comparisons[:FEW]):
        known = (
            "without an interval"
            if each.effect.interval is None
            else format_interval(each.effect.interval, digits, True)
        )
        difference = format_fixed(each.effect.difference, digits, signed=True)
        parts.append(f"{difference} {known} at {_where(each, place == 0)}")
    return (
        f"{capitalise(content.metric.name)} of {_arm(first)} minus {one_line(first.factor)}="
        f"{one_line(first.against)}, with 95 % intervals: {', '.join(parts)}{and_more(comparisons)}."
    )


def _describe_single(content: Content, comparison: Comparison) -> str:
    """Describe one comparison in full."""
    effect, name, digits = comparison.effect, _metric(content), difference_digits(content)
    arm, other = _arm(comparison), f"{one_line(comparison.factor)}={one_line(comparison.against)}"
    at = f" at {one_line(comparison.context)}" if comparison.context else ""
    interval = f"95 % interval {_range(effect.interval, digits)}" if effect.interval else "no interval"
    p = effect.p if effect.adjusted is None else effect.adjusted
    seeds = seeds_of(effect.paired, effect.seeds, effect.baseline_seeds)
    adjusted = "adjusted p" if len(content.comparisons) > 1 else "p"
    test = "no test" if p is None else f"{adjusted} = {format_p(p)}"
    facts = f"{format_fixed(effect.difference, digits, signed=True)} ({interval}, {test}, {seeds})"
    if comparison.verdict in ("better", "worse"):
        return f"{arm} is {comparison.verdict} than {other}{at}: {name} {facts}."
    if comparison.verdict == "equivalent":
        return f"{arm} is equivalent to {other}{at}, within the margin of {content.margin:g}: {name} {facts}."
    needed = comparison.seeds_needed
    more = (
        f" Detecting a difference of this size would need {_about(needed)} seeds, as estimated from {effect.seeds}."
        if needed
        else ""
    )
    return f"Whether {arm} is better or worse than {other}{at} is undecided: {name} {facts}.{more}"


def _about(seeds: int) -> str:
    return f"about {seeds}" if seeds <= _MANY else f"more than {_MANY:,}"


def _metric(content: Content) -> str:
    return content.metric.name + ("" if content.metric.higher_is_better else " (lower is better)")


def _where(comparison: Comparison, first: bool) -> str:
    """Return the context, "data.batch_size=2"; after the first, only the value if the context is one setting."""
    context = one_line(comparison.context)
    _, _, value = context.partition("=")
    return context if first or " " in context or not value else value


def and_more(comparisons: Sequence[Comparison]) -> str:
    """Return " and 3 more", the number of comparisons beyond `FEW`; an empty string if there are none."""
    return f" and {len(comparisons) - FEW} more" if len(comparisons) > FEW else ""


def _range(interval: Interval, digits: int) -> str:
    return f"{format_fixed(interval.low, digits)} to {format_fixed(interval.high, digits)}"


def level_and_context(comparison: Comparison) -> str:
    """Return "gn at data.batch_size=4"."""
    return f"{one_line(comparison.level)}{f' at {one_line(comparison.context)}' if comparison.context else ''}"


def _arm_at(comparison: Comparison) -> str:
    return f"{one_line(comparison.factor)}={level_and_context(comparison)}"


def _arm(comparison: Comparison) -> str:
    return f"{one_line(comparison.factor)}={one_line(comparison.level)}"
