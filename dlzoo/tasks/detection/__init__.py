"""Object detection: boxes around objects and their classes. Importing it registers its models, data sets, ..."""

from dlzoo.tasks.detection import yolo_augment
from dlzoo.tasks.detection.datasets import coco_json, voc, voc_xml, yolo_txt
from dlzoo.tasks.detection.models import faster_rcnn, retinanet, ssd, yolo
from dlzoo.tasks.detection.spec import DetectionSpec

__all__ = [
    "DetectionSpec",
    "coco_json",
    "faster_rcnn",
    "retinanet",
    "ssd",
    "voc",
    "voc_xml",
    "yolo",
    "yolo_augment",
    "yolo_txt",
]
