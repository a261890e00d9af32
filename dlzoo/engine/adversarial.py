"""Self-adversarial training: perturb the images along the gradient of the loss before learning from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.data.transforms.batch import Normalise
from dlzoo.engine.loss_scale import LossScale

#: A batch -> (its mean loss, other tensors that are logged).
LossFunction = Callable[[Batch], tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class SelfAdversarial:
    """Self-adversarial training: move the pixels of a batch by `size` along the sign of the loss's gradient.

    The images keep their shape (N, C, H, W) and their pixel range (SAT: arXiv:2004.10934, section 3.4; the step:
    arXiv:1412.6572, section 4). The gradient is computed in evaluation mode, so that the images do not enter the
    running statistics twice.

    Args:
        size: size of the step, as a fraction of the pixel range.
        normalise: the normalisation of the images.
        network: the network to train.
        loss: batch -> (loss, other logged tensors).
        loss_scale: the scale of the loss, for fp16; pixels whose scaled gradient is not a number stay as they are.
    """

    size: float
    normalise: Normalise
    network: nn.Module
    loss: LossFunction
    loss_scale: LossScale | None = None

    def __call__(self, batch: Batch) -> Batch:
        """Return the perturbed batch. Leaves the network in evaluation mode."""
        images = batch.images.detach().requires_grad_()
        self.network.eval()
        loss, _ = self.loss(batch._replace(images=images))
        if self.loss_scale is not None:
            loss = self.loss_scale.multiply(loss)
        (gradient,) = torch.autograd.grad(loss, images)
        dark, light = (self._normalise_grey(level, images) for level in (0.0, 255.0))
        sign = gradient.sign() if self.loss_scale is None else gradient.sign().nan_to_num()
        step = self.size * (light - dark) * sign
        return batch._replace(images=(images.detach() + step).clamp(dark, light))

    def _normalise_grey(self, level: float, images: Tensor) -> Tensor:
        """Return a normalised grey level: (1, C, 1, 1)."""
        return self.normalise(torch.full((1, images.shape[1], 1, 1), level, device=images.device))
