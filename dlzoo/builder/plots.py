"""The pictures that a run leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlzoo.builder.trainer import Assembled
from dlzoo.data.transforms.letterbox import placed
from dlzoo.metrics import plots
from dlzoo.tasks.classification.metrics import confusion_matrix
from dlzoo.tasks.detection import plots as detection_plots
from dlzoo.tasks.detection.metrics.summary import by_class, precision_recall
from dlzoo.tasks.regression import plots as regression_plots

#: Pictures of the test split that are shown with the boxes that were found in them.
_PICTURES = 12


def of_run(
    made: Assembled, records: Sequence[dict[str, Any]], title: str, outputs: Sequence[Tensor]
) -> dict[str, Figure]:
    """name -> picture.

    Args:
        records: what was logged.
        outputs: what the test metrics were computed from: (logits, labels), (predictions, targets), or
            (detections, labels).
    """
    data, (given, wanted) = made.data, outputs
    if data.task == "detect":
        return {"curves": plots.curves(records, title, made.task.monitor)} | of_objects(made, outputs)
    drawn = {"curves": plots.curves(records, title, made.task.kept[1])}
    if data.task == "regress":
        drawn["predictions"] = regression_plots.predicted_and_true(given, wanted, data.classes)
        if data.columns == 1:
            features = data.test.images[: len(given)]  # of a polynomial the first is the column itself
            drawn["fit"] = regression_plots.fitted_curve(features[..., 0].flatten(), given, wanted)
        return drawn
    drawn["confusion"] = plots.confusion(confusion_matrix(given, wanted), data.classes)
    if data.kind == "images":
        feed = made.task.eval_feeds["test"]

        def tested(indices: Tensor) -> Tensor:
            return feed.shifted(data.test.images[indices], indices).permute(0, 2, 3, 1)

        drawn["mistakes"] = plots.worst_mistakes(tested, given, wanted, data.classes)
    return drawn


def of_objects(made: Assembled, outputs: Sequence[Tensor]) -> dict[str, Figure]:
    """name -> picture, of what a detector found in the test split: (detections, labels), in pixels of the pictures."""
    data, (found, labels) = made.data, outputs
    classes, few = data.classes, list(range(min(_PICTURES, len(found))))
    images = data.test.images[torch.tensor(few)]
    assert data.test.sizes is not None
    sizes, side = data.test.sizes[few], data.image_size
    seen, wanted = (
        list(torch.cat([placed(rows[few, :, :4], sizes, side, data.fit), rows[few, :, 4:]], -1)) for rows in outputs
    )
    curves = precision_recall(found, labels, len(classes))
    measured = by_class(curves)
    errors = {name.removeprefix("test/"): value for name, value in made.task.test_metrics.items()}
    return {
        "predictions": detection_plots.predictions([image.numpy() for image in images], seen, wanted, classes),
        "precision_recall": detection_plots.precision_recall_curves(curves, classes),
        "classes": detection_plots.class_precisions(measured["ap50_voc10"], measured["objects"], classes),
        "errors": detection_plots.error_types(errors),
    }
