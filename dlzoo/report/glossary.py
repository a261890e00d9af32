"""What the numbers of a report mean, for who has to believe them."""

from __future__ import annotations

from dlzoo.comparison.permutation import MOST_PAIRS
from dlzoo.report.content import Content


def how_to_read(content: Content) -> list[str]:
    """A sentence or two about each kind of number; of what the report does not have, nothing."""
    said = []
    if content.metric.key.startswith("test/"):
        said.append(
            "The weights of each run were chosen on its validation split or are the last ones, as its settings say; "
            "the numbers here are of the test split. Every seed counts: none was picked by its result."
        )
    if any(factor.compared for factor in content.factors):
        said.append("The baseline is what the sweep or --baseline named, or else the default among what varies.")
    if any(cell.interval for cell in content.cells):
        said.append(
            "The 95 % interval of a mean is Student's t interval over seeds. All runs are tested on the same samples: "
            "what another draw of those would change is not in it."
        )
    known = [each.effect for each in content.comparisons if each.effect.p is not None]
    if any(effect.paired for effect in known):
        said.append(
            "Paired differences are taken seed by seed. Their interval is Student's t, their p is of the sign-flip "
            f"test, two-sided: exact up to {MOST_PAIRS} pairs, with 65,536 random flips beyond."
        )
    if any(not effect.paired for effect in known):
        said.append(
            "Where the seeds differ the difference is unpaired: its interval is Welch's, its p of the permutation test."
        )
    if any(key.startswith("train/") for key in content.others):
        said.append("Numbers of the training are means over its last steps, of images as they were augmented.")
    several = len(known) > 1 and any(effect.adjusted is not None for effect in known)
    if several:
        said.append(
            f"The adjusted p is after Benjamini and Hochberg over the {len(known)} comparisons of this report: among "
            "all that it calls different at 0.05, at most one in twenty is expected to be none. Intervals are not "
            "adjusted, each is for itself; differences of single classes are not tested."
        )
    if known:
        margin = "" if content.margin is None else (
            " It is equivalent, whatever p is, if the whole interval, of three seeds or more, lies within the margin "
            f"of ±{content.margin:g} (--margin sets it)."
        )  # fmt: skip
        said.append(
            f"An arm is better or worse if its {'adjusted ' if several else ''}p is at most 0.05 and its interval "
            f"does not hold 0.{margin} Otherwise it "
            "is undecided, which is not the same as equal."
        )
    if any(each.seeds_needed is not None for each in content.comparisons):
        said.append(
            "Seeds needed: with about so many of each arm in all, four of five such experiments would find a "
            "difference as large as the observed one, even if it were the only one among the comparisons."
        )
    return said
