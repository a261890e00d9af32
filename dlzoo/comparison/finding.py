"""What a reader has to know before believing a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlzoo.runs.differences import format_value

#: Items of a list in a sentence.
_MOST = 6


@dataclass(frozen=True)
class Finding:
    """Something that a reader has to know before believing a comparison: its kind ("budget"), and a sentence."""

    kind: str
    text: str


def by_level(factor: str, values: Mapping[Any, Iterable[Any]]) -> str:
    """ "0.1 with norm=bn, 0.05 with norm=gn"."""
    return listed(
        f"{' or '.join(map(format_value, each))} with {factor}={format_value(at)}" for at, each in values.items()
    )


def listed(items: Iterable[str]) -> str:
    """The first few, and how many there are beyond them."""
    items = list(items)
    return ", ".join(items[:_MOST]) + (f" and {len(items) - _MOST} more" if len(items) > _MOST else "")
