"""Self-adversarial training: perturb the images along the gradient of the loss before learning from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.data.transforms.batch import Normalise

#: A batch -> its mean loss, and what else is logged of it.
LossFunction = Callable[[Batch], tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class SelfAdversarial:
    """Move the pixels of a batch by `size` along the sign of the loss's gradient.

    The images keep their shape (N, C, H, W) and the range of pixels (SAT: arXiv:2004.10934, section 3.4; the step:
    arXiv:1412.6572, section 4). The gradient is that of the network in evaluation: its running statistics do not see
    the images twice.

    Args:
        size: of the step, as a share of the pixels' range.
        normalise: how images are seen by the network.
        network: what is trained.
        loss: of the network on a batch.
    """

    size: float
    normalise: Normalise
    network: nn.Module
    loss: LossFunction

    def __call__(self, batch: Batch) -> Batch:
        """The batch that is trained on instead; the network is left in evaluation mode."""
        images = batch.images.detach().requires_grad_()
        self.network.eval()
        loss, _ = self.loss(batch._replace(images=images))
        (gradient,) = torch.autograd.grad(loss, images)
        dark, light = (self._seen(level, images) for level in (0.0, 255.0))
        step = self.size * (light - dark) * gradient.sign()
        return batch._replace(images=(images.detach() + step).clamp(dark, light))

    def _seen(self, level: float, images: Tensor) -> Tensor:
        """A grey level as the network sees it: (1, C, 1, 1)."""
        return self.normalise(torch.full((1, images.shape[1], 1, 1), level, device=images.device))
