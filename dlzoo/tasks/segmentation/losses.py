"""The loss of a segmentation network: a registered loss over the pixels whose class is known."""

from __future__ import annotations

from torch import Tensor, nn

from dlzoo.core.protocols import Summed
from dlzoo.data.mask_set import IGNORED


class MaskLoss(nn.Module):
    """Logits (N, K, H, W) and masks (N, H, W) uint8, 255 where ignored -> (): the loss of the other pixels.

    Without any such pixel it is 0, with a gradient of 0.

    Args:
        loss: registered with the target "masks": a core.protocols.Summed whose sums leave pixels out.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        assert isinstance(loss, Summed)
        self.loss: nn.Module = loss

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.from_sums(self.sums(input, target))

    def sums(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss's sums over the pixels of a batch whose class is known."""
        assert isinstance(self.loss, Summed)
        valid = target != IGNORED
        return self.loss.sums(input, target.long().masked_fill(~valid, 0), valid)

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        assert isinstance(self.loss, Summed)
        return self.loss.from_sums(sums)
