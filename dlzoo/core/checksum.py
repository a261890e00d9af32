"""The checksum of a run's log, by which a changed record is noticed."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping


def add_record(checksum: int, step: int, values: Mapping[str, float | None]) -> int:
    """Return the checksum (CRC-32) of a log after one more record; that of an empty log is 0.

    The speed is left out, so that equal runs have equal checksums. A number that is not finite counts as None, which a
    log has in its place.
    """
    kept = {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in values.items()
        if name != "images_per_second"
    }
    return zlib.crc32(json.dumps([step, kept]).encode(), checksum)
