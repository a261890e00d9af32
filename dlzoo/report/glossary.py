"""Explain the numbers of a report."""

from __future__ import annotations

from dlzoo.comparison.permutation import MOST_PAIRS
from dlzoo.report.content import Content


def how_to_read(content: Content) -> list[str]:
    """Return one or two sentences about each kind of number that the report has."""
    sentences = []
    if content.metric.key.startswith("test/"):
        sentences.append(
            "The weights of each run are those with the best validation result or the last ones, as its settings say; "
            "the numbers here are from the test split. All seeds are included: none was selected by its result."
        )
    if any(factor.compared for factor in content.factors):
        sentences.append(
            "The baseline is the one that the sweep or --baseline set, or else the default of what varies."
        )
    if any(cell.interval for cell in content.cells):
        sentences.append(
            "The 95 % interval of a mean is Student's t interval over seeds. All runs are tested on the same samples: "
            "it does not include the variation between test sets."
        )
    sentences += _about_tests(content)
    if any(each.seeds_needed is not None for each in content.comparisons):
        sentences.append(
            "Seeds needed: with about this total number of seeds per arm, four of five such experiments would detect "
            "a difference as large as the observed one, even if it were the only one among the comparisons."
        )
    return sentences


def _about_tests(content: Content) -> list[str]:
    """Explain differences, p-values and verdicts."""
    sentences = []
    known = [each.effect for each in content.comparisons if each.effect.p is not None]
    if any(effect.paired for effect in known):
        sentences.append(
            "Paired differences are computed seed by seed. Their interval is Student's t interval, and their p is that "
            f"of the two-sided sign-flip test: exact up to {MOST_PAIRS} pairs, with 65,536 random flips above."
        )
    if any(not effect.paired for effect in known):
        sentences.append(
            "Where the seeds differ, the difference is unpaired: its interval is Welch's, its p that of the "
            "permutation test."
        )
    if any(key.startswith("train/") for key in content.others):
        sentences.append("Training metrics are means over the last steps, on augmented images.")
    several = len(known) > 1 and any(effect.adjusted is not None for effect in known)
    if several:
        sentences.append(
            f"The adjusted p is that of Benjamini and Hochberg over the {len(known)} comparisons of this report: of "
            "all differences called significant at 0.05, at most one in twenty is expected to be false. Intervals are "
            "not adjusted; differences of single classes are not tested."
        )
    if known:
        margin = "" if content.margin is None else (
            " It is equivalent, whatever p is, if the whole interval, of three seeds or more, lies within the margin "
            f"of ±{content.margin:g} (--margin sets it)."
        )  # fmt: skip
        sentences.append(
            f"An arm is better or worse if its {'adjusted ' if several else ''}p is at most 0.05 and its interval "
            f"does not contain 0.{margin} Otherwise it is undecided, which is not the same as equal."
        )
    return sentences
