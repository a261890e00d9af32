"""Findings: cautions about a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlzoo.runs.differences import format_value

#: Items of a list in a sentence.
_MOST = 6


@dataclass(frozen=True)
class Finding:
    """A caution about a comparison: its kind ("budget"), and a sentence."""

    kind: str
    text: str


def by_level(factor: str, values: Mapping[Any, Iterable[Any]]) -> str:
    """Format values by level: "0.1 with norm=bn, 0.05 with norm=gn"."""
    return join_items(
        f"{' or '.join(map(format_value, each))} with {factor}={format_value(at)}" for at, each in values.items()
    )


def join_items(items: Iterable[str]) -> str:
    """Join the first few items, and the number of others."""
    items = list(items)
    return ", ".join(items[:_MOST]) + (f" and {len(items) - _MOST} more" if len(items) > _MOST else "")
