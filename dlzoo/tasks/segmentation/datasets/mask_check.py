"""Masks whose values are no classes: what is wrong with them, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlzoo.core.errors import UserError
from dlzoo.data.mask_set import IGNORED
from dlzoo.tasks.segmentation.datasets.mask_coding import Coding, Naming
from dlzoo.tasks.segmentation.datasets.mask_scan import Scan, spell_value

#: Without names, a mask of more values than this is taken for an anti-aliased one; with a value as large as the third,
#: one of more values than the second.
_MANY, _SOME, _LARGE = 64, 8, 200
_REMEDY = "save masks as PNG, and resize them by nearest neighbour only"
#: The values of a mask of two classes as drawing programs save it.
BINARY = {0, IGNORED}


def problem_of_values(scan: Scan, *, named: bool) -> str:
    """Return what is wrong with a mask whatever its classes are; "" if nothing is.

    Args:
        scan: what is in it.
        named: whether there are names of the classes.
    """
    what = f"{scan.distinct:,} different {'colours' if scan.is_colour else 'values'}: {scan.histogram()}"
    if scan.lossy and scan.distinct > 2:
        return f"the mask has {what}; {scan.lossy} changes the values of masks: {_REMEDY}"
    largest = max((value for value in scan.values if value != IGNORED), default=0)
    if not named and not scan.is_colour and scan.distinct > (_SOME if largest >= _LARGE else _MANY):
        return (f"the mask has {what}; these are grey levels or smoothed edges, not classes: {_REMEDY}, or name the"
                " classes in data.classes")  # fmt: skip
    return ""


def problem_of_classes(scan: Scan, coding: Coding, source: str) -> str:
    """Return what is wrong with the values of a mask, given the classes; "" if nothing is."""
    if scan.is_colour and not coding.is_colour:
        return (f"the mask is RGB, with the colours {scan.histogram()}; set data.colours to a file with a line"
                " `name red green blue` for each class, or save masks with a number for each class")  # fmt: skip
    unknown = [value for value in scan.values if value not in coding.values]
    if not unknown and scan.distinct <= len(coding.values):
        return ""
    if not unknown or scan.distinct > 2 * len(coding.values):
        kind = "colours" if scan.is_colour else "values"
        return (f"the mask has {scan.distinct:,} different {kind}, but there are {len(coding.classes)} classes:"
                f" {scan.histogram()}; smoothed edges (anti-aliasing) or JPEG make such values: {_REMEDY}")  # fmt: skip
    value = spell_value(unknown[0], is_colour=scan.is_colour)
    if scan.is_colour:
        return f"the colour {value} is not in {source}; the mask has {scan.histogram()}; add it, or correct the mask"
    return (f"value {value} is outside the {len(coding.classes)} classes of {source}; the mask has {scan.histogram()};"
            f" {_advice(scan, coding)}")  # fmt: skip


def _advice(scan: Scan, coding: Coding) -> str:
    known = [value for value, number in coding.values.items() if number != IGNORED]
    if 0 not in scan.values and max(scan.values) == max(known) + 1:
        return "classes are counted from 0: name the class of value 0 first"
    return "add its name, or ignore it with data.ignore=[...]"


def naming_of_values(values: Iterable[int], ignore: Sequence[int | str]) -> Naming:
    """Return the classes of masks without names: background for 0, and "class 1", ... up to the largest value.

    Args:
        values: all values in the masks.
        ignore: the setting: numbers in it are of no class.

    Raises:
        UserError: if most of the numbers up to the largest value do not occur.
    """
    ignored = {IGNORED, *(int(each) for each in ignore if str(each).isdecimal())}
    seen = sorted(set(values) - ignored)
    if not seen:
        raise UserError(f"data.root: all pixels of the masks are ignored: {', '.join(map(str, sorted(set(values))))}")
    if len(seen) * 4 <= seen[-1] + 1:
        shown = ", ".join(map(str, seen[:8])) + (", ..." if len(seen) > 8 else "")
        advice = (
            "give each one a name in a file for data.colours, with lines such as `road 38 38 38`"
            if seen[-1] <= IGNORED
            else f"number them from 0, and leave out a value that means unknown, as in data.ignore=[{seen[-1]}]"
        )
        raise UserError(f"data.root: the masks have the values {shown}, which are not classes counted from 0; {advice}")
    names = ["background", *(f"class {number}" for number in range(1, seen[-1] + 1))]
    return Naming(names, {number: number for number in range(len(names))}, source="the masks")
