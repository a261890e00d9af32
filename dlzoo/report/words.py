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
    format_p,
    mean_digits,
    one_line,
)

#: Most comparisons that a sentence names, and most that are described in sentences.
FEW = 6
#: The level of significance of all verdicts.
ALPHA = 0.05
#: Larger numbers of seeds are given as "more than" this.
_MANY = 1000
_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "equivalent": "equivalent within the margin",
    "undecided": "undecided",
}


def answer(content: Content) -> list[str]:
    """Return the answer: a sentence for each compared factor, then one for each arm with its numbers.

    More than six, or the numbers of several contexts, stand in `tables.answer` instead.
    """
    if not content.comparisons:
        return _means(content)
    questions: dict[str, dict[tuple[str, str], list[Comparison]]] = {}
    for each in content.comparisons:
        questions.setdefault(each.factor, {}).setdefault((each.level, each.against), []).append(each)
    pairs = [pair for question in questions.values() for pair in question.values()]
    if len(content.comparisons) == 1:
        return [_describe_single(content, content.comparisons[0])]
    sentences = [_headline(content, list(question.values())) for question in questions.values()]
    return sentences if is_tabled(content) else [*sentences, *(_describe_single(content, each) for (each,) in pairs)]


def is_tabled(content: Content) -> bool:
    """Return whether the numbers of the answer are too many for sentences, and stand in a table."""
    pairs = {(each.factor, each.level, each.against) for each in content.comparisons}
    return len(content.comparisons or content.cells) > FEW or 1 <= len(pairs) < len(content.comparisons)


def why_undecided(comparison: Comparison) -> str | None:
    """Return the reason for "undecided" where the interval excludes 0, in a few words; None for other comparisons."""
    effect = comparison.effect
    if comparison.verdict != "undecided" or effect.interval is None or effect.interval.low <= 0 <= effect.interval.high:
        return None
    if effect.smallest_p is None or effect.smallest_p > ALPHA:
        return "too few seeds"
    return f"p = {format_p(effect.p if effect.adjusted is None else effect.adjusted)}"


def explain_undecided(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a sentence if one of the comparisons is undecided although its interval excludes 0."""
    reasons = {reason for each in comparisons if (reason := why_undecided(each))}
    if not reasons:
        return []
    few = ", which so few seeds cannot give" if reasons == {"too few seeds"} else ""
    return [f"Some intervals exclude 0 and are undecided: a verdict also needs p at most {ALPHA:g}{few}."]


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
    if is_tabled(content):
        return [f"The means of {len(content.cells)} settings are in the table.", _why_nothing_is_compared(content)]
    for cell in content.cells:
        interval = f" (95 % interval {_range(cell.interval, digits)})" if cell.interval else ", without an interval"
        what, seeds = one_line(cell.label), count_of(len(cell.values), "seed")
        sentences.append(
            f"{capitalise(content.metric.name)} of {what}: {format_fixed(cell.mean, digits)}{interval}, {seeds}."
        )
    return [*sentences, _why_nothing_is_compared(content)]


def _why_nothing_is_compared(content: Content) -> str:
    if not content.factors:
        return "There is nothing to compare: all runs have the same settings."
    if len(content.cells) == 1:
        return "There is nothing to compare it with: no run with other settings is finished."
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


def _headline(content: Content, pairs: Sequence[Sequence[Comparison]]) -> str:
    """Return the verdicts on the levels of one factor, each in one or several contexts, without the numbers."""
    first, comparisons = pairs[0][0], [each for pair in pairs for each in pair]
    start, than = f"By {_metric(content)}", f"{one_line(first.factor)}={one_line(first.against)}"
    total = len(comparisons)
    if all(each.verdict == "undecided" for each in comparisons):
        if len(pairs) == 1:
            what, all_of = _arm(first), "both" if total == 2 else f"all {total}"
            return f"{start}, {what} is not known to differ from {than}: {all_of} comparisons are undecided."
        return (
            f"{start}, no {one_line(first.factor)} is known to differ from {than}: {total} comparisons are undecided."
        )
    parts = []
    for verdict, words in _VERDICTS.items():
        if not (matching := [each for each in comparisons if each.verdict == verdict]):
            continue
        if len(pairs) == 1:
            where = ", ".join(_where(each, place == 0) for place, each in enumerate(matching[:FEW]))
            parts.append(f"{words} at {where}{and_more(matching)}")
        else:
            names = f" ({'; '.join(map(level_and_context, matching))})" if len(matching) <= FEW else ""
            parts.append(f"{len(matching)} {'is' if len(matching) == 1 else 'are'} {words}{names}")
    if len(pairs) == 1:
        return f"{start}, {_arm(first)}, compared with {than}, is {'; '.join(parts)}."
    return f"{start}, of {count_of(total, 'comparison')} with {than} {', '.join(parts)}."


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
    needed, reason = comparison.seeds_needed, why_undecided(comparison)
    more = (
        f" Detecting a difference of this size would need {_about(needed)} seeds, as estimated from {effect.seeds}."
        if needed
        else ""
    )
    more = f" Its interval excludes 0, but a verdict also needs p at most {ALPHA:g}.{more}" if reason else more
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


def _arm(comparison: Comparison) -> str:
    return f"{one_line(comparison.factor)}={one_line(comparison.level)}"
