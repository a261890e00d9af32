"""Semantic segmentation: a class for each pixel. Importing it registers its models, data sets, ..."""

from dlzoo.tasks.segmentation.datasets import coco_masks, mask_folder, oxford_pets, voc2012_seg
from dlzoo.tasks.segmentation.models import deeplab, fcn, fcn_resnet, unet
from dlzoo.tasks.segmentation.spec import SegmentationSpec

__all__ = [
    "SegmentationSpec",
    "coco_masks",
    "deeplab",
    "fcn",
    "fcn_resnet",
    "mask_folder",
    "oxford_pets",
    "unet",
    "voc2012_seg",
]
