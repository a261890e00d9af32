"""The object detection task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dlzoo.boxes.objects import sides
from dlzoo.core import index
from dlzoo.core.entries import Metric, ModelMarks
from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, write_atomically
from dlzoo.core.protocols import is_independent
from dlzoo.core.registries import BOX_LOSSES, LOSSES, NMS, TASKS
from dlzoo.data.data_set import TargetKind
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.letterbox import occupied_box
from dlzoo.data.transforms.settings import AugmentSettings
from dlzoo.tasks.base import Answer, Config, Pieces, Record, TaskSpec, Tested
from dlzoo.tasks.detection.losses import DetectionLoss
from dlzoo.tasks.detection.metrics.coco import undefined_metrics
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.postprocess import select_detections, to_original
from dlzoo.tasks.detection.results import write_results
from dlzoo.tasks.detection.transforms import BoxMixer, BoxTransform
from dlzoo.tasks.detection.weights import keep_anchors
from dlzoo.tasks.loss_check import check_loss
from dlzoo.tasks.prediction import FileRequest, Trained, conversion_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlzoo.data.storage.image_source import ImageSource
    from dlzoo.tasks.detection.metrics.evaluation import DetectionEvaluation
    from dlzoo.tasks.detection.module import DetectionModule
    from dlzoo.tasks.detection.prediction import CanvasReader, ObjectPrediction

#: Kinds of errors (metrics/error_types.py).
_ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
#: Mean average precision (mAP): name -> plain name.
_PRECISIONS = {
    "map50_voc10": "mAP50 (VOC 2010)",
    "map50_voc07": "mAP50 (VOC 2007)",
    "map_coco": "mAP50-95 (COCO)",
    "map50_coco": "mAP50 (COCO)",
    "map75_coco": "mAP75 (COCO)",
    "map_small_coco": "mAP of small objects (COCO)",
    "map_medium_coco": "mAP of medium objects (COCO)",
    "map_large_coco": "mAP of large objects (COCO)",
}
#: Images of the test split that are drawn with their detections.
_SHOWN = 12


@TASKS.register(
    "detect",
    source="Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010",
    target="objects",
    targets_are="objects",
    moves=("boxes",),
    example=(416, 20),  # as VOC is read
    metrics=(
        *(Metric(name, label=label, margin=0.01) for name, label in _PRECISIONS.items()),
        *(Metric(f"errors_{kind}", higher_is_better=False, unit="per image") for kind in _ERRORS),
    ),
    class_metric=Metric("ap50_voc10", label="average precision"),
)
class DetectionSpec(TaskSpec):
    """Detection of objects, as boxes and classes: labels (N, M, 6) float32 (boxes.objects)."""

    name = "detect"
    target = TargetKind("objects in its images")

    def check_config(self, config: Config, data: Splits) -> None:
        augment, data_name = config["augment"], config["data"]["name"]
        used = ["augment.cutmix"] if augment["cutmix"] else []
        used += [f"augment.test={augment['test']}"] if augment["test"] != "none" else []
        if used:
            raise UserError(f"{used[0]} is for images of one class, but data={data_name} has objects; leave it out")
        for name, part in (("train", data.train), ("val", data.val), ("test", data.test)):
            if part is not None and not len(sides(part.labels)):
                use = "train on" if name == "train" else "measure"
                raise UserError(
                    f"none of the {len(part)} images of {name} has an object that is not difficult or a crowd, so there"
                    f" is nothing to {use}: choose other data (data.val_fraction, data.limit)"
                )

    def undefined_metrics(self, data: Splits) -> set[str]:
        """Return the metrics of COCO's sizes of which a split has no object."""
        side, fit, undefined = data.image_size, data.source.facts()["fit"], set()
        for part in filter(None, (data.val, data.test)):
            assert part.sizes is not None
            undefined |= undefined_metrics(to_original(part.labels, part.sizes, side, fit))
        return undefined

    def loss(self, config: Config, data: Splits) -> DetectionLoss:
        """Return the loss of boxes, classes and objectness, after calling its class loss on one row of scores."""
        _, classes = LOSSES.from_section(config["loss"])
        settings, boxes = BOX_LOSSES.from_section(config["box_loss"])
        on_offsets = "offsets" in index.marks("box_loss", config["box_loss"]["name"]).targets
        loss = DetectionLoss(boxes, classes, on_offsets=on_offsets, weight=settings.weight)
        softmax, count = not is_independent(classes), len(data.classes)
        background = softmax and not index.marks("model", config["model"]["name"]).objectness
        scores = count + background
        target = torch.zeros(1, dtype=torch.int64) if softmax else torch.zeros(1, scores)
        names = f"{count} classes" + (" and background" if background else "")
        check_loss(config["loss"], lambda *row: classes.each(*row).sum(), torch.zeros(1, scores), target, names)
        return loss

    def model_arguments(self, config: Config, data: Splits) -> dict[str, Any]:
        _, classes = LOSSES.from_section(config["loss"])
        return {"softmax_classes": not is_independent(classes)}

    def usual_arguments(self, marks: ModelMarks) -> dict[str, Any]:
        section: dict[str, Any] = {"name": marks.loss} if isinstance(marks.loss, str) else dict(marks.loss or {})
        loss = LOSSES[section.pop("name")].build(**section)
        return {"softmax_classes": not is_independent(loss), "sizes": None}

    def learnt_arguments(self, data: Splits) -> dict[str, Any]:
        return {"sizes": sides(data.train.labels)}

    def transform(
        self, settings: AugmentSettings, augment: Augment, normalise: Normalise, data: Splits
    ) -> BoxTransform:
        return BoxTransform(augment, normalise, BoxMixer.of(settings), len(data.train) // data.batch_size)

    def module(self, pieces: Pieces, config: Config, data: Splits) -> DetectionModule:
        from dlzoo.tasks.detection.module import DetectionModule

        settings, nms = NMS.from_section(config["nms"])
        return DetectionModule(
            **vars(pieces),
            postprocess=partial(select_detections, nms=nms, settings=settings),
            num_classes=len(data.classes),
            fit=data.source.facts()["fit"],
        )

    def backbone_modules(self, network: nn.Module) -> list[nn.Module]:
        assert isinstance(network, Detector)
        return [network.backbone.network]  # layers added to it were never trained

    def load_backbone(self, state: dict[str, Tensor], network: nn.Module, origin: str) -> bool:
        assert isinstance(network, Detector)
        if any(key.startswith("backbone.") for key in state):
            return False
        network.backbone.load_classifier(state, origin)
        return True

    def refit(self, state: dict[str, Tensor], network: nn.Module, origin: str, *, new_head: bool) -> None:
        keep_anchors(state, network, origin, new_head=new_head)

    def facts(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"exclusive": arguments["softmax_classes"]}

    def recorded_arguments(self, record: Record) -> dict[str, Any]:
        return {"softmax_classes": record["exclusive"]}

    def draw_sample(self, pixels: Tensor, label: Tensor, classes: Sequence[str], *, mixed: bool) -> tuple[Tensor, str]:
        """Return the image with its objects (M, 6) drawn."""
        from dlzoo.tasks.detection.drawing import draw_detections

        rows = label[label[:, 4] >= 0]
        detections = torch.cat([rows[:, :4], torch.ones(len(rows), 1), rows[:, 4:5]], 1)
        drawn = draw_detections(Image.fromarray(pixels.numpy()), detections, classes)
        return torch.from_numpy(np.asarray(drawn).copy()), ""

    def describe(self, record: Record) -> str:
        count = len(record["classes"])
        return f"objects of {count} class{'' if count == 1 else 'es'}"

    def plots(self, tested: Tested) -> dict[str, Figure]:
        from dlzoo.metrics import plots

        curves = plots.curves(tested.records, tested.title, tested.module.monitor, validation=tested.data.val)
        return {"curves": curves} | _plots_of_objects(tested)

    def write_evaluation(self, tested: Tested, metrics: Mapping[str, float], folder: Path) -> None:
        """Write metrics.json, the detections (results.py), and plots."""
        detections, labels = _evaluation(tested).rows
        from dlzoo.runs.figures import write_png

        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "metrics.json", json.dumps(dict(metrics), indent=1) + "\n")
            write_results(folder, list(detections), list(labels), tested.data)
            for name, figure in _plots_of_objects(tested).items():
                write_png(figure, folder / f"{name}.png")
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({reason(error)})") from error

    def check_prediction(self, record: Record, path: str, conditions: Sequence[str], out: str | None) -> None:
        """Accept all options: detectors support other suppression settings, and draw boxes."""

    def image_reader(self, config: Config, record: Record) -> CanvasReader:
        from dlzoo.tasks.detection.prediction import CanvasReader

        conversion = conversion_of(config, record)
        return CanvasReader(record["image_size"], record["fit"], conversion, record["in_channels"])

    def predict(self, images: Sequence[ImageSource], trained: Trained, most: int) -> list[ObjectPrediction]:
        from dlzoo.tasks.detection.prediction import predict_objects

        return predict_objects(images, trained)

    def predict_files(self, request: FileRequest, trained: Trained) -> list[Answer]:
        from dlzoo.tasks.detection.prediction import draw_objects

        return draw_objects(request, trained)

    def format_prediction(self, prediction: Answer) -> str:
        from dlzoo.tasks.detection.prediction import names_of_objects

        return f"{names_of_objects(prediction)}; drawn in {prediction['picture']}"


def _evaluation(tested: Tested) -> DetectionEvaluation:
    return cast("DetectionEvaluation", tested.module.tested)


def _plots_of_objects(tested: Tested) -> dict[str, Figure]:
    """Return plots of the detections of the test split: on images, as curves, by class and by kind of error."""
    from dlzoo.tasks.detection import plots

    data, evaluation = tested.data, _evaluation(tested)
    few, classes = slice(_SHOWN), data.classes
    detections, labels = (list(rows[few]) for rows in evaluation.rows)  # boxes in pixels of the original images
    images = data.test.images[torch.arange(len(labels))]
    assert data.test.sizes is not None
    sizes = data.test.sizes[: len(labels)]
    occupied = occupied_box(sizes, data.image_size, data.source.facts()["fit"]).tolist()
    cut = [image[y1:y2, x1:x2].numpy() for image, (x1, y1, x2, y2) in zip(images, occupied, strict=True)]
    curves, measured = evaluation.curves(), evaluation.by_class()
    errors = {name.removeprefix("test/"): value for name, value in tested.module.test_metrics.items()}
    return {
        "predictions": plots.predictions(cut, detections, labels, classes, sizes.tolist()),
        "precision_recall": plots.precision_recall_curves(curves, classes),
        "classes": plots.class_precisions(measured["ap50_voc10"], measured["objects"], classes),
        "errors": plots.error_types(errors),
    }
