"""Training and evaluation of segmentation networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.data.mask_set import IGNORED
from dlzoo.engine.task_module import TaskModule
from dlzoo.layers.head import WithAuxiliary
from dlzoo.tasks.segmentation.inference import Inference
from dlzoo.tasks.segmentation.metrics import SegmentationEvaluation
from dlzoo.tasks.segmentation.models.segmenter import segment


class SegmentationModule(TaskModule):
    """Segmentation with one class for each pixel: loss_fn(logits (N, K, H, W), masks (N, H, W)).

    Auxiliary heads of a network add their losses in training.

    Args:
        inference: how the logits of whole images are computed in evaluation.
    """

    logged_names = ("loss", "pixel_accuracy")
    monitor = "miou"

    def __init__(
        self, network: nn.Module, *, loss_fn: nn.Module, num_classes: int, inference: Inference, **rest: Any
    ) -> None:
        super().__init__(network, **rest)
        self.loss_fn, self.num_classes, self.inference = loss_fn, num_classes, inference

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        output = segment(self.network, batch.images)
        logits, auxiliary, weight = output if isinstance(output, WithAuxiliary) else (output, (), 0.0)
        loss = self.loss_fn(logits.float(), batch.labels)
        for others in auxiliary:
            loss = loss + weight * self.loss_fn(others.float(), batch.labels)
        known = batch.labels != IGNORED
        right = (logits.detach().argmax(1) == batch.labels) & known
        return loss, (right.sum() / known.sum().clamp(min=1),)

    def evaluation(self, *, details: bool) -> SegmentationEvaluation:
        return SegmentationEvaluation(self.loss_fn, self.num_classes, details=details)

    def evaluate(self, batch: Batch, evaluation: SegmentationEvaluation) -> None:
        assert batch.sizes is not None
        sizes = [(wide, high) for wide, high in batch.sizes.tolist()]
        evaluation.update(self._logits(batch.images, sizes), batch.labels, sizes, batch.indices)

    def _logits(self, images: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        """Return the logits (N, K, H, W) of images, computed without the rest of their canvas, where they are 0."""
        whole = images.shape[3], images.shape[2]
        if all(size == whole for size in sizes):
            return self.inference.logits(self.eval_network, images)
        logits = images.new_zeros(len(images), self.num_classes, whole[1], whole[0], dtype=torch.float32)
        for place, (wide, high) in enumerate(sizes):
            part = images[place : place + 1, :, :high, :wide]
            logits[place, :, :high, :wide] = self.inference.logits(self.eval_network, part)[0]
        return logits
