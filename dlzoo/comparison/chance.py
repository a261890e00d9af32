"""Networks of a comparison that learned nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlzoo.comparison.finding import join_items
from dlzoo.comparison.records import Record


def learned_nothing(arms: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return a sentence that names the arms with networks that learned nothing, and their numbers; [] without any.

    Args:
        arms: label -> the run.json of each finished run, whose `result_notes` say what its network learned. Runs of
            versions without such notes count as learned.
    """
    counts = {
        label: sum("learned_nothing" in (record.get("result_notes") or {}) for record in records)
        for label, records in arms.items()
    }
    named = [f"{label} ({count} of {len(arms[label])} runs)" for label, count in counts.items() if count]
    if not named:
        return []
    return [f"These runs learned nothing (no better than chance on the test split): {join_items(named)}."]
