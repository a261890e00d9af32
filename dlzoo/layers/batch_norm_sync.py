"""Batch normalisation over more than the local batch: over all processes, or over the micro-batches of a step."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from dlzoo.core import distributed
from dlzoo.core.registries import NORMS
from dlzoo.layers.norm import BatchNorm


class _SumOverRanks(torch.autograd.Function):
    """Sum over the ranks; the backward pass sums the gradients over the ranks."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return distributed.all_reduce(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return distributed.all_reduce(gradients[0])


@NORMS.register("sync_bn", source="arXiv:1502.03167; statistics over all processes")
class SyncBatchNorm(BatchNorm):
    """Batch normalisation with the training statistics of the global batch; in a single process it equals `bn`.

    torch's SyncBatchNorm does not support the CPU; this one needs two all-reduces, and works with gloo and NCCL.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and distributed.is_distributed()):
            return super().forward(input)
        x = input.float()
        pixels = [0, *range(2, x.dim())]
        local_count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        total = cast(Tensor, _SumOverRanks.apply(torch.cat([x.sum(pixels), local_count])))
        sums, count = total[:-1], total[-1]
        mean = sums / count
        shape = [1, -1] + [1] * (x.dim() - 2)
        # Squares of the centred values, because E[x^2] - E[x]^2 would suffer from cancellation.
        squares = cast(Tensor, _SumOverRanks.apply((x - mean.view(shape)).square().sum(pixels)))
        variance = squares / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        y = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


@NORMS.register("cmbn", source="arXiv:2004.10934, figure 4; CBN: arXiv:2002.05712")
class CrossMiniBatchNorm(BatchNorm):
    """Batch normalisation with the statistics of all micro-batches of a step so far (trainer.accumulate).

    The weights do not change within a step, so the paper's correction is not needed: the last micro-batch is normalised
    as `bn` normalises the full batch. Gradients flow only through the statistics of the current micro-batch. A run
    calls `begin_step()` before each step; in a loop that never calls it, this is `bn`.
    """

    _follows_steps = False
    _start: tuple[Tensor, Tensor] | None = None

    def begin_step(self) -> None:
        """Start an optimizer step: the next batch is its first micro-batch."""
        self._follows_steps, self._start = True, None

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self._follows_steps):
            return super().forward(input)
        self._check_input_dim(input)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        x = input.to(self.running_mean.dtype)
        pixels, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        if self._start is None:
            self._start = self.running_mean.clone(), self.running_var.clone()
            self._count, self._mean, self._squares = 0, 0.0, 0.0
            self.num_batches_tracked.add_(1)
        # Merge two sets of values (Chan et al. 1979): sums of squares about a mean avoid cancellation.
        count = x.numel() // x.shape[1]
        total = self._count + count
        mean = x.mean(pixels)
        squares = (x - mean.view(shape)).square().sum(pixels)
        difference = mean - self._mean
        squares = self._squares + squares + difference.square() * (self._count * count / total)
        mean = self._mean + difference * (count / total)
        variance = squares / total
        with torch.no_grad():
            self._count, self._mean, self._squares = total, mean.detach(), squares.detach()
            self.running_mean.copy_(self._start[0].lerp(mean, self.momentum))
            self.running_var.copy_(self._start[1].lerp(squares / (total - 1), self.momentum))
        y = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)
