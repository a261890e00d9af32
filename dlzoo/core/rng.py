"""Named, counter-based random streams.

Every random number of a run is a function of (seed, stream name, counters), and never of how many numbers were drawn
before: the same seed gives every model the same batches, and a resumed run draws the same numbers as an uninterrupted
one. The streams are "init", "bootstrap", "order" and "balanced" (both by epoch), "augment" (by epoch and position in
it; also seeds Python's, NumPy's and torch's generators before an item of a given data set is read) and "dropout" (by
step). Those of the data ("split", "noisy labels", "outliers", "sine", "shapes", "box pairs",
"shift", "items") and of learnt anchors ("anchors") do not depend on the run's seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

#: The largest seed that a generator takes.
_LARGEST = 2**63 - 1


def key(seed: int, *path: str | int) -> int:
    """Return a 63-bit hash of `seed` and `path`, equal on every machine."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class Streams:
    """The random streams of one run."""

    seed: int

    def permutation(self, length: int, *path: str | int) -> Tensor:
        """Return a random permutation of range(length): (length,) int64, on the CPU."""
        return torch.randperm(length, generator=self.generator(*path))

    def generator(self, *path: str | int) -> torch.Generator:
        """Return a CPU generator at the beginning of a stream."""
        return torch.Generator().manual_seed(key(self.seed, *path))

    def draw(self, samples: Tensor, *path: str | int) -> Draw:
        """Return random numbers for each of `samples` (indices into a data set)."""
        return Draw(key(self.seed, *path), samples)

    @contextmanager
    def scope(self, *path: str | int) -> Iterator[None]:
        """Seed torch's global CPU generator with this stream inside the context, and restore its state afterwards."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key(self.seed, *path))
            yield

    def reseeder(self, *path: str | int) -> Callable[[torch.device, int], None]:
        """Return (device, step) -> None, which seeds the default generator of `device` (dropout's) for a step."""
        base = key(self.seed, *path)

        def reseed(device: torch.device, step: int) -> None:
            number = (base + step) & _LARGEST
            torch.default_generator.manual_seed(number)
            if device.type == "cuda":
                torch.cuda.default_generators[device.index or 0].manual_seed(number)

        return reseed


@dataclass(frozen=True)
class Draw:
    """Random numbers of a batch, one row per sample; they do not depend on how samples are batched."""

    key: int
    samples: Tensor  # (N,) int64

    def part(self, name: str | int) -> Draw:
        """Return an independent draw for the same samples, so that names in it cannot clash with those of this one."""
        return Draw(key(self.key, "part", name), self.samples)

    def seeds(self, name: str) -> list[int]:
        """Return a 63-bit number for each sample, to seed generators of other programs."""
        return (splitmix64(self.samples + key(self.key, name)) & _LARGEST).tolist()

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1): (N, *shape) float32, on the device of the samples."""
        bits = splitmix64(self.samples + key(self.key, name))
        if shape:
            counter = torch.arange(math.prod(shape), device=bits.device)
            bits = splitmix64(bits[:, None] + counter).view(-1, *shape)
        return ((bits >> 40) & 0xFFFFFF).float() / 2**24

    def integers(self, name: str, high: int) -> Tensor:
        """Return integers in range(high): (N,) int64. Their bias is below 2**-24."""
        return (self.uniform(name) * high).long()

    def normal(self, name: str, *shape: int) -> Tensor:
        """Return standard normal numbers, at most 5.8 in absolute value: (N, *shape) float32 (Box and Muller 1958)."""
        # In float64: log and cos round differently in the vectorised loop and in its remainder.
        radius = (-2 * (1 - self.uniform(f"{name} radius", *shape).double()).log()).sqrt()
        angle = 2 * math.pi * self.uniform(f"{name} angle", *shape).double()
        return (radius * angle.cos()).float()


@contextmanager
def keeping_generators() -> Iterator[None]:
    """Restore the states of Python's, NumPy's and torch's (CPU) global generators at the end of the context."""
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and torch's (CPU) global generators with a number of at most 63 bits."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # it takes 32 bits
    torch.default_generator.manual_seed(seed)


def splitmix64(x: Tensor) -> Tensor:
    """SplitMix64 of each element (Steele et al. 2014, figure 15), in wrapping int64 arithmetic."""
    x = x * -7046029254386353131  # 0x9E3779B97F4A7C15
    x = (x ^ _shift_right(x, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    x = (x ^ _shift_right(x, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Return the logical shift x >> bits; torch shifts int64 arithmetically."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
