"""Convert a report to JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dlzoo.report.content import Content
from dlzoo.runs.run_dir import replace_non_finite


def as_json(content: Content) -> dict[str, Any]:
    """Return the content of a report, curves included; numbers that are not finite are null, keys are strings."""
    fields = asdict(content)
    for cell in fields["cells"]:
        cell["values"] = {str(seed): value for seed, value in cell["values"].items()}
    fields["others"] = {
        key: {label: {"mean": mean, "interval": interval} for label, (mean, interval) in by_label.items()}
        for key, by_label in fields["others"].items()
    }
    return replace_non_finite(fields)
