"""Numbers and names as one reads them: digits that the uncertainty deserves, and units."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable

from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Content

#: What stands where nothing is known.
NONE = "\N{EN DASH}"

#: As long as a plus, where "-" is a hyphen.
MINUS = "\N{MINUS SIGN}"


#: Whatever is smaller than this is 0 to a reader.
_MOST_DECIMALS = 12


def decimals(scale: float, intervals: Iterable[Interval | None]) -> int:
    """Digits after the point for a column: two significant ones of the narrowest interval, four of the numbers.

    Never more than six significant ones.

    Args:
        scale: the largest of the numbers.
        intervals: theirs; None where there is none.
    """
    halves = [(each.high - each.low) / 2 for each in intervals if each is not None]
    halves = [half for half in halves if half > 0 and math.isfinite(half)]
    magnitude = math.floor(math.log10(abs(scale))) if scale and math.isfinite(scale) else -1
    least = 4 if -3 <= magnitude <= -1 or abs(scale) == 1 else max(0, 3 - magnitude)
    needed = 1 - math.floor(math.log10(min(halves))) if halves else least
    return min(max(needed, least), max(least, 5 - magnitude), _MOST_DECIMALS)


def mean_digits(content: Content) -> int:
    """Digits of the means of the metric, in all places."""
    return decimals(_scale(content), [cell.interval for cell in content.cells])


def difference_digits(content: Content) -> int:
    """Digits of the differences of the metric, in all places."""
    return decimals(_scale(content), [each.effect.interval for each in content.comparisons])


def _scale(content: Content) -> float:
    return max((abs(cell.mean) for cell in content.cells if math.isfinite(cell.mean)), default=0.0)


def fixed(number: float | None, digits: int, signed: bool = False) -> str:
    """0.7420, or +0.0120 with a sign."""
    if number is None or not math.isfinite(number):
        return NONE
    text = f"{number:{'+' if signed else ''}z.{digits}f}"
    return text.replace("-", MINUS)


def between(interval: Interval | None, digits: int, signed: bool = False) -> str:
    """[0.7361, 0.7479]."""
    if interval is None:
        return NONE
    return f"[{fixed(interval.low, digits, signed)}, {fixed(interval.high, digits, signed)}]"


def with_interval(mean: float, interval: Interval | None, digits: int) -> str:
    """0.7420 ± 0.0060, and the number alone where there is no interval."""
    text = fixed(mean, digits)
    return text if interval is None or text == NONE else f"{text} ± {fixed(interval.high - mean, digits)}"


def p_value(p: float | None) -> str:
    """0.0078."""
    if p is None or not math.isfinite(p):
        return NONE
    return "<0.0001" if p < 0.00005 else f"{p:.4f}"


def whole(number: int | None) -> str:
    """269,722."""
    return NONE if number is None else f"{number:,}"


def large(number: float | None) -> str:
    """41.2 M."""
    return _scaled(number, ("", " k", " M", " G", " T"))


def memory(size: float | None) -> str:
    """412 MB."""
    return _scaled(size, (" B", " kB", " MB", " GB", " TB"))


def rate(number: float | None) -> str:
    """1,890."""
    if number is None or not math.isfinite(number):
        return NONE
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """3.4 s, 34 s, 12 min, 3.2 h."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    for size, unit, below in ((1, "s", 120), (60, "min", 120), (3600, "h", math.inf)):
        if seconds < size * below:
            amount = seconds / size
            return f"{amount:.0f} {unit}" if amount >= 9.95 else f"{amount:.1f} {unit}"
    raise AssertionError("unreachable")


def _scaled(number: float | None, units: tuple[str, ...]) -> str:
    if number is None or not math.isfinite(number):
        return NONE
    place = 0
    while abs(number) >= 999.5 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    digits = 0 if place == 0 or abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    return f"{number:.{digits}f}{units[place]}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """1 seed, 8 seeds."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def begun(text: str) -> str:
    """As a sentence begins."""
    return plain(text)[:1].upper() + plain(text)[1:]


def plain(text: str) -> str:
    """One line that every format can hold: no control characters, nothing that is no letter of any script."""
    text = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in text)
    return " ".join(text.split())


def short(text: str, most: int = 24) -> str:
    """At most so many letters; what is left out is in the middle, as names tend to differ at their ends."""
    text = plain(text)
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
