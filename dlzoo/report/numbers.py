"""Format numbers and names: as many digits as the uncertainty warrants, and units."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable

from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Content

#: The text of an unknown value.
NONE = "\N{EN DASH}"

#: A minus as wide as a plus; "-" is a hyphen.
MINUS = "\N{MINUS SIGN}"

#: Most digits after the point.
_MOST_DECIMALS = 12


def decimals(scale: float, intervals: Iterable[Interval | None]) -> int:
    """Return the decimals of a column: two significant digits of the narrowest interval, four of the numbers.

    There are never more than six significant digits.

    Args:
        scale: the largest of the numbers.
        intervals: their intervals; None for a number without one.
    """
    halves = [(each.high - each.low) / 2 for each in intervals if each is not None]
    halves = [half for half in halves if half > 0 and math.isfinite(half)]
    magnitude = math.floor(math.log10(abs(scale))) if scale and math.isfinite(scale) else -1
    least = 4 if -3 <= magnitude <= -1 or abs(scale) == 1 else max(0, 3 - magnitude)
    needed = 1 - math.floor(math.log10(min(halves))) if halves else least
    if halves and abs(scale) < min(halves):  # numbers that may as well be 0 need no digits of their own
        least = min(least, max(needed, 4))
    return min(max(needed, least), max(least, 5 - magnitude), _MOST_DECIMALS)


def mean_digits(content: Content) -> int:
    """Return the digits after the point of the metric's means."""
    return decimals(_scale(content), [cell.interval for cell in content.cells])


def difference_digits(content: Content) -> int:
    """Return the digits after the point of the metric's differences."""
    return decimals(_scale(content), [each.effect.interval for each in content.comparisons])


def _scale(content: Content) -> float:
    return max((abs(cell.mean) for cell in content.cells if math.isfinite(cell.mean)), default=0.0)


def format_fixed(number: float | None, digits: int, signed: bool = False) -> str:
    """Format a number: 0.7420, or +0.0120 with a sign."""
    if number is None or not math.isfinite(number):
        return NONE
    text = f"{number:{'+' if signed else ''}z.{digits}f}"
    return text.replace("-", MINUS)


def format_interval(interval: Interval | None, digits: int, signed: bool = False) -> str:
    """Format an interval: [0.7361, 0.7479]."""
    if interval is None:
        return NONE
    return f"[{format_fixed(interval.low, digits, signed)}, {format_fixed(interval.high, digits, signed)}]"


def format_mean(mean: float, interval: Interval | None, digits: int) -> str:
    """Format a mean: 0.7420 ± 0.0060, or only the mean if there is no interval."""
    text = format_fixed(mean, digits)
    return text if interval is None or text == NONE else f"{text} ± {format_fixed(interval.high - mean, digits)}"


def format_p(p: float | None) -> str:
    """Format a p-value: 0.0078."""
    if p is None or not math.isfinite(p):
        return NONE
    return "<0.0001" if p < 0.00005 else f"{p:.4f}"


def format_integer(number: int | None) -> str:
    """Format an integer: 269,722."""
    return NONE if number is None else f"{number:,}"


def format_large(number: float | None) -> str:
    """Format a large number: 41.2 M."""
    return _format_scaled(number, ("", " k", " M", " G", " T"))


def format_bytes(size: float | None) -> str:
    """Format a size in bytes: 412 MB."""
    return _format_scaled(size, (" B", " kB", " MB", " GB", " TB"))


def format_rate(number: float | None) -> str:
    """Format a rate: 1,890."""
    if number is None or not math.isfinite(number):
        return NONE
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def format_duration(seconds: float | None) -> str:
    """Format a time: 3.4 s, 34 s, 12 min, 3.2 h."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    for size, unit, below in ((1, "s", 120), (60, "min", 120), (3600, "h", math.inf)):
        if seconds < size * below:
            amount = seconds / size
            return f"{amount:.0f} {unit}" if amount >= 9.95 else f"{amount:.1f} {unit}"
    raise AssertionError("unreachable")


def _format_scaled(number: float | None, units: tuple[str, ...]) -> str:
    if number is None or not math.isfinite(number):
        return NONE
    place = 0
    while abs(number) >= 999.5 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    digits = 0 if place == 0 or abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    return f"{number:.{digits}f}{units[place]}"


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Format a count: 1 seed, 8 seeds."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def capitalise(text: str) -> str:
    """Capitalise the first letter."""
    return one_line(text)[:1].upper() + one_line(text)[1:]


def one_line(text: str) -> str:
    """Return the text on one line, without control characters and surrogates, so that every format can hold it."""
    text = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in text)
    return " ".join(text.split())


def shorten(text: str, most: int = 24) -> str:
    """Shorten text to at most `most` letters. The middle is left out, as names tend to differ at their ends."""
    text = one_line(text)
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def wrap(text: str, width: int, lines: int = 3) -> str:
    """Break text into at most `lines` lines of at most `width` letters, after a space or a sign if there is one.

    Only text that still does not fit is shortened.
    """
    text = one_line(text)
    for most in range(min(len(text), width * lines), 0, -1):
        broken = _break(shorten(text, most), width)
        if len(broken) <= lines:
            return "\n".join(broken)
    return text


def _break(text: str, width: int) -> list[str]:
    lines = [""]
    for word in re.findall(r"\S+\s*", text):
        fits = len(word.rstrip()) <= width
        signs = (
            [word] if fits else re.findall(r"[^,;=_./-]*[,;=_./-]*\s*", word)
        )  # a word is only broken if it is too long
        for piece in (sign[start : start + width] for sign in signs for start in range(0, len(sign.rstrip()), width)):
            if len((lines[-1] + piece).rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]
