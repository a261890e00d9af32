"""The processes of a distributed run, as torchrun's environment names them, and what they have to agree about.

Outside a distributed run there is one rank, and every function here returns what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dlzoo.core.errors import UserError

T = TypeVar("T")

#: Ranks wait for each other for so long: one of them may be reading a large set for the first time.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Rank:
    """Which of `world` processes this is, over all machines and on this one."""

    index: int = 0
    world: int = 1
    local_index: int = 0
    local_world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes, prints and saves."""
        return self.index == 0


#: The one process of a run that is not distributed.
ALONE = Rank()


#: What torchrun calls the fields of a Rank.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def here() -> Rank:
    """This process, by the variables that torchrun sets.

    Raises:
        UserError: if they make no sense.
    """
    if not launched():
        return ALONE
    values = [os.environ[name] for name in _VARIABLES]
    numbers = [int(value) if value.isdecimal() else -1 for value in values]
    if min(numbers) < 0 or numbers[0] >= numbers[1] or numbers[2] >= numbers[3]:
        said = ", ".join(f"{name}={value}" for name, value in zip(_VARIABLES, values, strict=True))
        raise UserError(f"the environment has {said}: no rank")
    return Rank(*numbers)


def launched() -> bool:
    """Whether somebody started this process as a rank: torchrun, or a run with trainer.devices > 1."""
    return all(name in os.environ for name in _VARIABLES)


def cores() -> int:
    """The cores that the processes of this job may use, fewer than the machine's where a scheduler shares it out."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def joined(accelerator: str) -> Iterator[Rank]:
    """Inside, the ranks can talk to each other: over NCCL between GPUs, over gloo between processes on CPUs."""
    rank = here()
    if rank.world == 1:
        yield rank
        return
    if accelerator == "gpu":
        torch.cuda.set_device(rank.local_index)
    dist.init_process_group("nccl" if accelerator == "gpu" else "gloo", timeout=_PATIENCE)
    yield rank
    # Not after an error: the others may be waiting in a collective, and whoever started us ends them.
    dist.barrier()
    dist.destroy_process_group()


def gathered(value: T) -> list[T]:
    """Every rank's value, in the order of the ranks."""
    if not several():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def total(values: Tensor) -> Tensor:
    """The sum over the ranks, of the same shape; without others it is `values` itself."""
    if not several():
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether it is true on one of the ranks at least."""
    return bool(total(torch.tensor(float(flag), device=device))) if several() else flag


def share_buffers(module: nn.Module) -> None:
    """Give every rank the buffers (running statistics) of rank 0."""
    if several():
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def several() -> bool:
    """Whether this process has others to talk to."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
