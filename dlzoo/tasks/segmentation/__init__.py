"""Semantic segmentation: a class for each pixel. Importing it registers its models, data sets, ..."""

from dlzoo.tasks.segmentation.models import deeplab, fcn, fcn_resnet, unet
from dlzoo.tasks.segmentation.spec import SegmentationSpec

__all__ = ["SegmentationSpec", "deeplab", "fcn", "fcn_resnet", "unet"]
