"""The answer in plain words, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo.comparison.power import family, seeds_to_reach
from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Comparison, Content
from dlzoo.report.numbers import between, counted, difference_digits, fixed, mean_digits, p_value, plain

#: A sentence names so many comparisons one by one; of more it says how many there are.
_FEW = 12
_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "equivalent": "as good within the margin",
    "undecided": "not decided",
}


def answer(content: Content) -> list[str]:
    """The sentences that a report begins with, the shortest first."""
    if not content.comparisons:
        return _means(content)
    pairs: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in content.comparisons:
        pairs.setdefault((each.factor, each.level, each.against), []).append(each)
    sentences = [_of_pair(content, of_pair) for of_pair in pairs.values()]
    if len(pairs) > 1:
        return [_summary(content), *sentences]
    (of_pair,) = pairs.values()
    return [_headline(content, of_pair), *sentences] if len(of_pair) > 1 else sentences


def compared(comparison: Comparison) -> str:
    """ "norm=gn against norm=bn at data.batch_size=4"."""
    at = f" at {plain(comparison.context)}" if comparison.context else ""
    return f"{_arm(comparison)} against {plain(comparison.factor)}={plain(comparison.against)}{at}"


def power(comparisons: Sequence[Comparison]) -> list[str]:
    """What so many seeds can show, and what not."""
    if not comparisons:
        return []
    seeds = min(min(each.effect.seeds, each.effect.baseline_seeds) for each in comparisons)
    smallest = max((each.effect.smallest_p or 1.0) for each in comparisons)
    if seeds < 2:
        return ["With one seed nothing can be said about chance: no interval and no test. Repeat with seed=range(8)."]
    sentences = [f"With {seeds} seeds the smallest p that the exact test can give is {smallest:.2g}."]
    if smallest > 0.05:
        sentences.append(
            f"No difference can be significant at 0.05 with so few, however large: that takes {seeds_to_reach(0.05)}"
            " seeds."
        )
    elif len(comparisons) > 1:
        sentences.append(_family(len(comparisons), seeds, smallest))
    unpaired = [each for each in comparisons if not each.effect.paired]
    if unpaired:
        which = "The arms" if len(unpaired) == len(comparisons) else f"{len(unpaired)} of the comparisons"
        sentences.append(
            f"{which} do not have the same seeds: unpaired, with Welch's interval, which is wider than a paired one."
        )
    left = sorted({seed for each in comparisons for seed in each.effect.left_out})
    if left:
        sentences.append(f"Seeds without a partner are left out of the differences: {', '.join(map(str, left))}.")
    return sentences


def _family(count: int, seeds: int, smallest: float) -> str:
    of_all = family(seeds, count)
    start = f"{count} comparisons are tested together (Benjamini and Hochberg, 5 % false discoveries): "
    if of_all.together is None:
        return f"{start}they cannot reach it with {seeds} seeds, not even all at once."
    if of_all.together == 1:
        return f"{start}one real difference among them can be found."
    alone = "" if of_all.seeds is None else f"; with {of_all.seeds} seeds one alone could be"
    return f"{start}at least {of_all.together} of them must be at p = {smallest:.2g} for any to be found{alone}."


def _means(content: Content) -> list[str]:
    sentences = []
    digits = mean_digits(content)
    for cell in content.cells[:_FEW]:
        seeds = len(cell.values)
        interval = f" (95 % interval {_range(cell.interval, digits)})" if cell.interval else ", without an interval"
        what = f" of {plain(cell.label)}" if cell.label else ""
        name = content.metric.name
        name = name[0].upper() + name[1:]
        sentences.append(f"{name}{what}: {fixed(cell.mean, digits)}{interval}, {counted(seeds, 'seed')}.")
    return [*sentences, "There is nothing to compare: no two arms differ in one setting only."]


def _summary(content: Content) -> str:
    """Of several levels or factors: how many came out how."""
    parts = []
    for verdict, said in _VERDICTS.items():
        found = [each for each in content.comparisons if each.verdict == verdict]
        if found:
            names = f" ({'; '.join(map(_short, found))})" if len(found) <= _FEW else ""
            parts.append(f"{len(found)} {said}{names}")
    baselines = dict.fromkeys(f"{plain(each.factor)}={plain(each.against)}" for each in content.comparisons)
    return (
        f"Of {counted(len(content.comparisons), 'comparison')} with {' or '.join(baselines)} by {content.metric.name}: "
        f"{', '.join(parts)}."
    )


def _headline(content: Content, comparisons: Sequence[Comparison]) -> str:
    """One level against the baseline in several contexts: where which, without the numbers."""
    verdicts = {each.verdict for each in comparisons}
    start = f"By {content.metric.name} {_arm(comparisons[0])}"
    than = f"{plain(comparisons[0].factor)}={plain(comparisons[0].against)}"
    if verdicts == {"undecided"}:
        return f"{start} is nowhere known to differ from {than}: none of {len(comparisons)} comparisons is decided."
    parts = []
    for verdict, said in _VERDICTS.items():
        if found := [each for each in comparisons if each.verdict == verdict]:
            where = ", ".join(_where(each, place == 0) for place, each in enumerate(found[:_FEW]))
            parts.append(f"{said} at {where}{_more(found)}")
    return f"{start} against {than} is {'; '.join(parts)}."


def _of_pair(content: Content, comparisons: Sequence[Comparison]) -> str:
    """One level against the baseline, in all contexts."""
    first = comparisons[0]
    if len(comparisons) == 1:
        return _alone(content, first)
    digits, parts = difference_digits(content), []
    for place, each in enumerate(comparisons[:_FEW]):
        interval = "no interval" if each.effect.interval is None else between(each.effect.interval, digits, signed=True)
        difference = fixed(each.effect.difference, digits, signed=True)
        parts.append(f"{difference} at {_where(each, place == 0)} ({interval})")
    return (
        f"{content.metric.name[0].upper()}{content.metric.name[1:]} of {_arm(first)} minus {plain(first.factor)}="
        f"{plain(first.against)}, with 95 % intervals: {', '.join(parts)}{_more(comparisons)}."
    )


def _alone(content: Content, comparison: Comparison) -> str:
    """One comparison, told whole."""
    effect, name, digits = comparison.effect, content.metric.name, difference_digits(content)
    arm, other = _arm(comparison), f"{plain(comparison.factor)}={plain(comparison.against)}"
    at = f" at {plain(comparison.context)}" if comparison.context else ""
    interval = f"95 % interval {_range(effect.interval, digits)}" if effect.interval else "no interval"
    p = effect.p if effect.adjusted is None else effect.adjusted
    seeds = counted(min(effect.seeds, effect.baseline_seeds), "paired seed" if effect.paired else "unpaired seed")
    test = "no test" if p is None else f"p = {p_value(p)}"
    facts = f"{fixed(effect.difference, digits, signed=True)} ({interval}, {test}, {seeds})"
    if comparison.verdict in ("better", "worse"):
        return f"{arm} is {comparison.verdict} than {other}{at}: {name} {facts}."
    if comparison.verdict == "equivalent":
        return f"{arm} is as good as {other}{at}, within the margin of {content.margin:g}: {name} {facts}."
    needed = comparison.seeds_needed
    more = f" A difference of this size would take about {needed} seeds." if needed else ""
    return f"Whether {arm} is better or worse than {other}{at} is not decided: {name} {facts}.{more}"


def _where(comparison: Comparison, first: bool) -> str:
    """ "data.batch_size=2"; after the first a single setting's value is enough."""
    context = plain(comparison.context)
    _, _, value = context.partition("=")
    return context if first or " " in context or not value else value


def _more(found: Sequence[Comparison]) -> str:
    return f" and {len(found) - _FEW} more" if len(found) > _FEW else ""


def _range(interval: Interval, digits: int) -> str:
    return f"{fixed(interval.low, digits)} to {fixed(interval.high, digits)}"


def _short(comparison: Comparison) -> str:
    return f"{plain(comparison.level)}{f' at {plain(comparison.context)}' if comparison.context else ''}"


def _arm(comparison: Comparison) -> str:
    return f"{plain(comparison.factor)}={plain(comparison.level)}"
