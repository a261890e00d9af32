"""The answer in plain words, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo.comparison.finding import Finding
from dlzoo.comparison.power import family, seeds_to_reach
from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Comparison, Content
from dlzoo.report.numbers import begun, between, counted, difference_digits, fixed, mean_digits, p_value, plain

#: A sentence names so many comparisons one by one; of more it says how many there are.
_FEW = 12
_ALPHA = 0.05
#: Seeds beyond which one number is as good as another.
_MANY = 1000
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
        more = [f"{len(sentences) - _FEW} more are in the table."] if len(sentences) > _FEW else []
        return [_summary(content), *sentences[:_FEW], *more]
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
    kinds: dict[tuple[bool, int, int], list[Comparison]] = {}
    for each in comparisons:
        kinds.setdefault((each.effect.paired, each.effect.seeds, each.effect.baseline_seeds), []).append(each)
    (common, usual), *others = sorted(kinds.items(), key=lambda item: -len(item[1]))
    smallest = usual[0].effect.smallest_p
    if smallest is None:
        sentences = [f"With {_seeds(*common)} nothing can be said about chance: repeat with seeds=8."]
    else:
        sentences = [f"With {_seeds(*common)} the smallest p that the test can give is {smallest:.2g}."]
        if smallest > _ALPHA:
            sentences.append(_nothing_significant(common[0]))
        elif len(comparisons) > 1:
            sentences.append(_family(len(comparisons), smallest, common[0]))
    for kind, of_kind in others:
        names = "; ".join(map(_short, of_kind[:_FEW])) + _more(of_kind)
        least = of_kind[0].effect.smallest_p
        known = "no test" if least is None else f"the smallest p is {least:.2g}"
        sentences.append(f"With {_seeds(*kind)} ({names}): {known}.")
    left = sorted({seed for each in comparisons for seed in each.effect.left_out})
    if left:
        sentences.append(f"Seeds without a partner are left out of the differences: {', '.join(map(str, left))}.")
    return sentences


def too_few(comparisons: Sequence[Comparison]) -> list[Finding]:
    """Seeds that cannot decide anything, whatever they show."""
    known = [each.effect for each in comparisons if (each.effect.smallest_p or 1.0) <= _ALPHA]
    if not comparisons or known:
        return []
    paired = all(each.effect.paired for each in comparisons)
    return [Finding("seeds", _nothing_significant(paired).rstrip("."))]


def _nothing_significant(paired: bool) -> str:
    of = "seeds" if paired else "seeds of each arm"
    fewest = seeds_to_reach(_ALPHA, paired)
    return f"No difference can be significant at {_ALPHA} with so few seeds, however large: that takes {fewest} {of}."


def _family(count: int, smallest: float, paired: bool) -> str:
    of_all = family(smallest, count, paired)
    start = f"{count} comparisons are tested together (Benjamini and Hochberg, 5 % false discoveries): "
    if of_all.together is None:
        return f"{start}none can be found with so few seeds, not even all at once."
    if of_all.together == 1:
        return f"{start}one real difference among them can be found."
    alone = "" if of_all.seeds is None else f"; from {of_all.seeds} seeds on a single one can be"
    return f"{start}fewer than {of_all.together} of them can never be found, however large{alone}."


def _seeds(paired: bool, seeds: int, baseline_seeds: int) -> str:
    """ "8 paired seeds", "8 and 3 unpaired seeds"."""
    if paired:
        return counted(seeds, "paired seed")
    both = str(seeds) if seeds == baseline_seeds else f"{seeds} and {baseline_seeds}"
    return f"{both} unpaired seeds"


def _means(content: Content) -> list[str]:
    digits, sentences = mean_digits(content), []
    for cell in content.cells[:_FEW]:
        interval = f" (95 % interval {_range(cell.interval, digits)})" if cell.interval else ", without an interval"
        what, seeds = plain(cell.label), counted(len(cell.values), "seed")
        sentences.append(f"{begun(content.metric.name)} of {what}: {fixed(cell.mean, digits)}{interval}, {seeds}.")
    if len(content.cells) > _FEW:
        sentences.append(f"{len(content.cells) - _FEW} more are in the table.")
    return [*sentences, _why_nothing_is_compared(content)]


def _why_nothing_is_compared(content: Content) -> str:
    if not content.factors:
        return "There is nothing to compare: all runs have the same settings."
    if any(factor.compared for factor in content.factors) and not any(cell.is_baseline for cell in content.cells):
        baselines = [f"{plain(each.key)}={plain(each.baseline or '')}" for each in content.factors if each.compared]
        return f"There is nothing to compare with yet: no run with {' '.join(baselines)} is finished."
    against = " ".join(f"{plain(each.key)}={plain(each.baseline or '')}" for each in content.factors if each.compared)
    return f"There is nothing to compare: no arm differs from {against} in that alone. --baseline names another."


def _summary(content: Content) -> str:
    """Of several levels or factors: how many came out how."""
    parts = []
    for verdict, said in _VERDICTS.items():
        found = [each for each in content.comparisons if each.verdict == verdict]
        if found:
            several = len({each.factor for each in content.comparisons}) > 1
            names = f" ({'; '.join(_arm_at(each) if several else _short(each) for each in found)})"
            names = names if len(found) <= _FEW else ""
            parts.append(f"{len(found)} {said}{names}")
    baselines = dict.fromkeys(f"{plain(each.factor)}={plain(each.against)}" for each in content.comparisons)
    return (
        f"Of {counted(len(content.comparisons), 'comparison')} with {' or '.join(baselines)} by {_metric(content)}: "
        f"{', '.join(parts)}."
    )


def _headline(content: Content, comparisons: Sequence[Comparison]) -> str:
    """One level against the baseline in several contexts: where which, without the numbers."""
    verdicts = {each.verdict for each in comparisons}
    start = f"By {_metric(content)} {_arm(comparisons[0])}"
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
        known = "without an interval" if each.effect.interval is None else between(each.effect.interval, digits, True)
        difference = fixed(each.effect.difference, digits, signed=True)
        parts.append(f"{difference} {known} at {_where(each, place == 0)}")
    return (
        f"{begun(content.metric.name)} of {_arm(first)} minus {plain(first.factor)}="
        f"{plain(first.against)}, with 95 % intervals: {', '.join(parts)}{_more(comparisons)}."
    )


def _alone(content: Content, comparison: Comparison) -> str:
    """One comparison, told whole."""
    effect, name, digits = comparison.effect, _metric(content), difference_digits(content)
    arm, other = _arm(comparison), f"{plain(comparison.factor)}={plain(comparison.against)}"
    at = f" at {plain(comparison.context)}" if comparison.context else ""
    interval = f"95 % interval {_range(effect.interval, digits)}" if effect.interval else "no interval"
    p = effect.p if effect.adjusted is None else effect.adjusted
    seeds = _seeds(effect.paired, effect.seeds, effect.baseline_seeds)
    adjusted = "adjusted p" if len(content.comparisons) > 1 else "p"
    test = "no test" if p is None else f"{adjusted} = {p_value(p)}"
    facts = f"{fixed(effect.difference, digits, signed=True)} ({interval}, {test}, {seeds})"
    if comparison.verdict in ("better", "worse"):
        return f"{arm} is {comparison.verdict} than {other}{at}: {name} {facts}."
    if comparison.verdict == "equivalent":
        return f"{arm} is as good as {other}{at}, within the margin of {content.margin:g}: {name} {facts}."
    needed = comparison.seeds_needed
    more = (
        f" A difference of this size would take {_about(needed)} seeds, as far as {effect.seeds} can tell."
        if needed
        else ""
    )
    return f"Whether {arm} is better or worse than {other}{at} is not decided: {name} {facts}.{more}"


def _about(seeds: int) -> str:
    return f"about {seeds}" if seeds <= _MANY else f"more than {_MANY:,}"


def _metric(content: Content) -> str:
    return content.metric.name + ("" if content.metric.higher_is_better else " (lower is better)")


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


def _arm_at(comparison: Comparison) -> str:
    return f"{plain(comparison.factor)}={_short(comparison)}"


def _arm(comparison: Comparison) -> str:
    return f"{plain(comparison.factor)}={plain(comparison.level)}"
