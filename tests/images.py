"""Images and random numbers, for the tests of what is done to images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.core.rng import Draw, Streams


def draw(count: int, seed: int = 0, first: int = 0) -> Draw:
    return Streams(seed).draw(torch.arange(first, first + count), "augment", 0)


def noise(count: int, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """Images in the memory order of the feeds, each with a range of levels of its own."""
    numbers = torch.Generator().manual_seed(seed)
    images = torch.rand(count, height, width, channels, generator=numbers)
    low, high = 100 * torch.rand(2, count, 1, 1, channels, generator=numbers)
    return (low + (255 - high - low) * images).to(torch.uint8).permute(0, 3, 1, 2)


def smooth(count: int, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    """Images as cameras make them: what is near is alike, colours are not grey."""
    small = noise(count, channels, 5, 5).float()
    images = F.interpolate(small, (height, width), mode="bicubic").clamp(0, 255)
    return images.to(torch.uint8, memory_format=torch.channels_last)
