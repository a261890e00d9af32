"""Self-adversarial training: a network first changes its images against itself, then learns from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlzoo.data.loader import Batch, Normalise

if TYPE_CHECKING:
    from dlzoo.engine.task_module import Task

Attack = Callable[["Task", Batch], Batch]


class SelfAdversarial:
    """(task, batch) -> a batch whose pixels are moved by `size` along the sign of the loss's gradient there.

    The images keep their shape (N, C, H, W) and the range of pixels (SAT: arXiv:2004.10934, section 3.4; the step:
    arXiv:1412.6572, section 4). The gradient is that of the network in evaluation: its running statistics do not see
    the images twice.

    Args:
        size: of the step, as a share of the pixels' range.
        normalise: how images are seen by the network.
    """

    def __init__(self, size: float, normalise: Normalise) -> None:
        self._size, self._normalise = size, normalise

    def __call__(self, task: Task, batch: Batch) -> Batch:
        images = batch.images.detach().requires_grad_()
        task.network.eval()
        loss, _ = task.loss(batch._replace(images=images))
        (gradient,) = torch.autograd.grad(loss, images)
        task.train()
        dark, light = (self._seen(level, images) for level in (0.0, 255.0))
        step = self._size * (light - dark) * gradient.sign()
        return batch._replace(images=(images.detach() + step).clamp(dark, light))

    def _seen(self, level: float, images: Tensor) -> Tensor:
        """A grey level as the network sees it: (1, C, 1, 1)."""
        return self._normalise(torch.full((1, images.shape[1], 1, 1), level, device=images.device))
