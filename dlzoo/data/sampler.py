"""Samplers: which training samples make up an epoch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dlzoo.core.rng import Streams

Sampler = Literal["uniform", "balanced", "bootstrap"]


def draw_samples(sampler: Sampler, labels: Tensor, streams: Streams, epoch: int) -> Tensor:
    """Draw the samples at the N positions of an epoch: (N,) int64. Only "balanced" uses the labels, (N,).

    "bootstrap" is the same draw in every epoch (Breiman 1996, bagging): it leaves out 36.8 % of the samples.
    """
    count = len(labels)
    if sampler == "uniform":
        return torch.arange(count)
    if sampler == "bootstrap":
        return torch.randint(count, (count,), generator=streams.generator("bootstrap"))
    weights = (1 / labels.bincount())[labels]
    return torch.multinomial(weights, count, replacement=True, generator=streams.generator("balanced", epoch))
