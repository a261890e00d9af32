"""What tables write around numbers: signs of currencies, percent, units, and brackets for negative ones."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_KNOWN = """AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF INR JPY KRW MXN NOK NZD PLN RUB SEK SGD TRY TWD USD ZAR
    mg g kg lb lbs oz mm cm m km mi ft inch inches nm ml mL cl dl L gal mm2 cm2 m2 km2 m3 cm3 sqft sqm ha
    mm\u00b2 cm\u00b2 m\u00b2 km\u00b2 m\u00b3 cm\u00b3 ms sec min mins h hr hrs hour hours day days week weeks
    month months year years yr yrs km/h kmh kph mph m/s Hz kHz MHz GHz mV kV kW MW kWh mA kJ kcal cal hp bhp bar
    psi hPa kPa \u00b0 \u00b0C \u00b0F px kB KB MB GB TB bps mmHg mmol/l mmol/L mg/dl mg/dL g/l g/L"""
#: What is a unit in any column. Others are units only where many different numbers have the same one: 3D is a word.
_UNITS = frozenset(_KNOWN.split())
#: As many different numbers with one unknown unit are quantities.
_MANY = 20
_NUMBER = "(?P<number>[-+\u2212]?(?:\\d[\\d.,'\u2019 \u00a0\u2009\u202f]*|[.,]\\d+))"
_BEHIND = re.compile(rf"{_NUMBER}(?P<unit>\u00b0|\u00b0?[^\W\d_]+[23\u00b2\u00b3]?(?:/[^\W\d_]+)?)\.?")
_BEFORE = re.compile(rf"(?P<unit>[A-Z]{{3}})[ \u00a0]?{_NUMBER}")
_NEGATIVE = re.compile(r"(?P<sign>[^\w\s()]?) ?\((?P<inside>.*\d.*)\)|(?P<before>.*\d)[-\u2212]")


@dataclass(frozen=True)
class Bare:
    """A cell without what is written around its number: the same text if there is nothing.

    Attributes:
        what: "currency", "percent", "unit" or "negative": what was left out; "" for nothing.
        unit: the unit that was left out, as it was written.
    """

    text: str
    what: str = ""
    unit: str = ""

    @property
    def advice(self) -> str:
        """What the cell is, and how to edit it."""
        if self.what == "negative":
            return f"which may be a negative number; write {self.text}, or {self.text[1:]} if it is not negative"
        if self.what == "unit":
            return f"a number with the unit {self.unit}; remove the unit from the column"
        return f"a number with a {self.what} sign; remove the sign from the column"


def bare_numbers(cells: Sequence[str]) -> dict[str, Bare]:
    """Return the different cells of a column without signs and units around their numbers."""
    bare = {cell: _bare(cell) for cell in cells}
    counts = Counter(one.unit for one in bare.values() if one.what == "unit")
    units = {unit for unit, count in counts.items() if unit in _UNITS or count > _MANY}
    return {cell: one if one.what != "unit" or one.unit in units else Bare(cell) for cell, one in bare.items()}


def _bare(cell: str) -> Bare:
    if not any(map(str.isdigit, cell)):
        return Bare(cell)
    if match := _NEGATIVE.fullmatch(cell):
        return Bare(f"-{_without_sign(match['inside'] or match['before']).strip()}", "negative")
    if (text := _without_sign(cell)) != cell:
        return Bare(text, "percent" if "%" in cell or "\u2030" in cell else "currency")
    if match := _BEHIND.fullmatch(cell) or _BEFORE.fullmatch(cell):
        return Bare(match["number"].strip(), "unit", match["unit"])
    return Bare(cell)


def _without_sign(cell: str) -> str:
    """Return a cell without the sign of a currency or percent."""
    if cell.isascii() and "$" not in cell and "%" not in cell:
        return cell
    return "".join(mark for mark in cell if mark not in "%\u2030" and unicodedata.category(mark) != "Sc").strip()
