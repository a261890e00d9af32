"""Counts of detection errors by kind."""

from __future__ import annotations

import numpy as np

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
    detections, objects, pairs = matching.detections, matching.objects, matching.pairs
    pairs = pairs.where(~matching.difficult[pairs.objects])
    same = detections.classes[pairs.detections] == objects.classes[pairs.objects]
    same_class, same_overlap = pairs.where(same).nearest(len(matching.scores))
    other, other_overlap = pairs.where(~same).nearest(len(matching.scores))
    counted = matching.scores >= np.float32(MIN_SCORE)
    kinds = np.select(
        [(same_overlap >= BACKGROUND_IOU) & (same_overlap < MATCH_IOU), other_overlap >= MATCH_IOU,
         same_overlap >= MATCH_IOU, other_overlap <= BACKGROUND_IOU],
        ["localisation", "classification", "duplicate", "background"], "both",
    )  # fmt: skip
    kinds[~counted | matching.hits | matching.ignored] = ""
    explained = matching.difficult.copy()
    explained[matching.nearest[matching.hits & counted]] = True
    explained[same_class[kinds == "localisation"]] = True
    explained[other[kinds == "classification"]] = True
    counts = {kind: np.count_nonzero(kinds == kind) for kind in KINDS} | {"missed": np.count_nonzero(~explained)}
    return {kind: count / matching.num_images for kind, count in counts.items()}
