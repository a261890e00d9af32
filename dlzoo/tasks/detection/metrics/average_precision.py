"""Average precision of each class as in PASCAL VOC, by 11 points (2007) and by all points (2010 and later)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlzoo.tasks.detection.metrics.matching import Matching


class Curve(NamedTuple):
    """Precision and recall of a class for its 1, 2, ... D detections of highest score.

    Attributes:
        true_positives: (D,) among the first 1, 2, ... D detections, without those that match difficult objects.
        objects: number of objects, without difficult ones.
    """

    true_positives: NDArray[np.int64]
    objects: int

    @property
    def precision(self) -> NDArray[np.float64]:
        """Precision (D,): the share of detections that are true positives."""
        return self.true_positives / np.arange(1, len(self.true_positives) + 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Recall (D,): the share of objects that are detected."""
        return self.true_positives / self.objects

    def precision_at(self, points: int) -> NDArray[np.float64]:
        """Return the greatest precision at recalls of at least 0, 1 / points, ... 1: (points + 1,)."""
        # In integers: 3 of 10 objects are a recall of 0.3, but 3 * 0.1 in floating point is a little more.
        first = np.searchsorted(self.true_positives * points, np.arange(points + 1) * self.objects)
        return np.append(self._greatest(), 0)[first]

    def eleven_points(self) -> float:
        """Return the mean precision at recalls 0, 0.1, ... 1 (VOC 2007)."""
        return float(self.precision_at(10).mean())

    def all_points(self) -> float:
        """Return the area under the curve with precision made monotonically decreasing (VOC 2010)."""
        hits = np.diff(self.true_positives, prepend=0) > 0
        return float(self._greatest()[hits].sum() / self.objects)

    def _greatest(self) -> NDArray[np.float64]:
        """Return the greatest precision with as many detections or more: (D,)."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]


def curves(matching: Matching, num_classes: int) -> list[Curve | None]:
    """Return the curve of each class; None for one without objects, difficult ones aside."""
    objects = np.bincount(matching.object_classes[~matching.difficult], minlength=num_classes)
    per_class: list[Curve | None] = []
    for number, count in enumerate(objects.tolist()):
        counted = (matching.classes == number) & ~matching.ignored
        per_class.append(Curve(matching.hits[counted].cumsum(), count) if count else None)
    return per_class
