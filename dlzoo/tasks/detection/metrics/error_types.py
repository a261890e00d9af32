"""Counts of detection errors by kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlzoo.tasks.detection.metrics.matching import MATCH_IOU, Matching

#: Errors are counted among detections of this score or more.
MIN_SCORE = 0.3
#: With an IoU below this, a detection is unrelated to an object: t_b of arXiv:2008.08115.
BACKGROUND_IOU = 0.1
#: The kinds of errors.
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")


def error_types(matching: Matching) -> dict[str, float]:
    """Return the mean number per image of each kind of error, of detections with a score of 0.3 or more.

    As in arXiv:2008.08115, section 2.2, with t_f = 0.5 and t_b = 0.1. A detection that is not a true positive has one
    error, the first that applies, in the order of the authors' code:
    - localisation: its greatest IoU with an object of its class is from 0.1 to below 0.5;
    - classification: its greatest IoU with an object of another class is 0.5 or more;
    - duplicate: a detection of higher score matches its object;
    - background: its IoU with every object is at most 0.1;
    - both: all others, with a wrong class and a wrong place.
    An object is missed if no detection matches it and no error of localisation or classification belongs to it.
    Difficult objects do not count, and detections that match them are not errors.
    """
    same, other = matching.same.overlaps, matching.other.overlaps
    counted = matching.scores >= np.float32(MIN_SCORE)
    left = counted & ~matching.hits & ~matching.ignored
    kinds: dict[str, NDArray[np.bool_]] = {}
    for kind, applies in (
        ("localisation", (same >= BACKGROUND_IOU) & (same < MATCH_IOU)),
        ("classification", other >= MATCH_IOU),
        ("duplicate", same >= MATCH_IOU),
        ("background", other <= BACKGROUND_IOU),
        ("both", np.ones_like(left)),
    ):
        kinds[kind] = left & applies
        left &= ~applies
    explained = matching.difficult.copy()
    explained[matching.nearest.objects[matching.hits & counted]] = True
    explained[matching.same.objects[kinds["localisation"]]] = True
    explained[matching.other.objects[kinds["classification"]]] = True
    kinds["missed"] = ~explained
    return {kind: np.count_nonzero(kinds[kind]) / matching.num_images for kind in KINDS}
