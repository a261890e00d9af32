"""The pictures that a run leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from dlzoo.assembly import Assembled
from dlzoo.metrics import pictures, regression_pictures
from dlzoo.metrics.classification import confusion_matrix


def of_run(
    made: Assembled, records: Sequence[dict[str, Any]], title: str, outputs: Sequence[Tensor]
) -> dict[str, Figure]:
    """name -> picture.

    Args:
        records: what was logged.
        outputs: what the test metrics were computed from: (logits, labels), or (predictions, targets).
    """
    data, (given, wanted) = made.data, outputs
    drawn = {"curves": pictures.curves(records, title, made.task.kept[1])}
    if data.task == "regress":
        drawn["predictions"] = regression_pictures.predicted_and_true(given, wanted, data.classes)
        if data.columns == 1:
            features = data.test.images[: len(given)]  # of a polynomial the first is the column itself
            drawn["fit"] = regression_pictures.fitted_curve(features[..., 0].flatten(), given, wanted)
        return drawn
    drawn["confusion"] = pictures.confusion(confusion_matrix(given, wanted), data.classes)
    if data.kind == "images":
        feed = made.task.eval_feeds["test"]

        def tested(indices: Tensor) -> Tensor:
            return feed.shifted(data.test.images[indices], indices).permute(0, 2, 3, 1)

        drawn["mistakes"] = pictures.worst_mistakes(tested, given, wanted, data.classes)
    return drawn
