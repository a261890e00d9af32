"""Describe the statistical power of a comparison in words."""

from __future__ import annotations

from collections.abc import Sequence

from dlzoo.comparison.finding import Finding
from dlzoo.comparison.power import family, seeds_to_reach
from dlzoo.report.content import Comparison
from dlzoo.report.numbers import format_p
from dlzoo.report.words import ALPHA, FEW, and_more, level_and_context, seeds_of


def power(comparisons: Sequence[Comparison]) -> list[str]:
    """Describe the statistical power of this number of seeds."""
    if not comparisons:
        return []
    kinds: dict[tuple[bool, int, int], list[Comparison]] = {}
    for each in comparisons:
        kinds.setdefault((each.effect.paired, each.effect.seeds, each.effect.baseline_seeds), []).append(each)
    (common, most_common), *others = sorted(kinds.items(), key=lambda item: -len(item[1]))
    smallest = most_common[0].effect.smallest_p
    if smallest is None:
        sentences = [f"With {seeds_of(*common)} seed-to-seed variation cannot be estimated: repeat with seeds=8."]
    else:
        sentences = [f"With {seeds_of(*common)} the smallest possible p is {format_p(smallest)}."]
        if smallest > ALPHA:
            sentences.append(_nothing_significant(common[0]))
        elif len(comparisons) > 1:
            sentences.append(_family(len(comparisons), smallest, common[0]))
    for kind, of_kind in others:
        names = "; ".join(map(level_and_context, of_kind[:FEW])) + and_more(of_kind)
        least = of_kind[0].effect.smallest_p
        known = "no test" if least is None else f"the smallest possible p is {format_p(least)}"
        sentences.append(f"With {seeds_of(*kind)} ({names}): {known}.")
    unpaired = sorted({seed for each in comparisons for seed in each.effect.left_out})
    if unpaired:
        seeds = ", ".join(map(str, unpaired))
        sentences.append(f"Seeds that only one of two arms has are left out of the differences: {seeds}.")
    return sentences


def too_few(comparisons: Sequence[Comparison]) -> list[Finding]:
    """Report that there are too few seeds for any difference to be significant."""
    known = [each.effect for each in comparisons if (each.effect.smallest_p or 1.0) <= ALPHA]
    if not comparisons or known:
        return []
    paired = all(each.effect.paired for each in comparisons)
    return [Finding("seeds", _nothing_significant(paired).rstrip("."))]


def _nothing_significant(paired: bool) -> str:
    unit = "seeds" if paired else "seeds of each arm"
    fewest = seeds_to_reach(ALPHA, paired)
    few = f"No difference can be significant at {ALPHA} with so few seeds, however large it is"
    return f"{few}: at least {fewest} {unit} are needed."


def _family(count: int, smallest: float, paired: bool) -> str:
    of_all = family(smallest, count, paired)
    start = f"{count} comparisons are tested together (Benjamini and Hochberg, 5 % false discoveries): "
    if of_all.together is None:
        return f"{start}with so few seeds no difference can be detected, even if all arms differ."
    if of_all.together == 1:
        return f"{start}a single real difference among them can be detected."
    single = "" if of_all.seeds is None else f"; a single one needs {of_all.seeds} seeds"
    return f"{start}fewer than {of_all.together} real differences cannot be detected, however large they are{single}."
