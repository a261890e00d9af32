"""The ranks of a distributed run, read from torchrun's environment variables, and their collective operations.

Without torchrun's variables there is one rank, and the collectives do not communicate.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dlzoo.core.errors import UserError

T = TypeVar("T")

#: Timeout of collectives: a rank may be reading a large data set for the first time while the others wait.
_TIMEOUT = timedelta(hours=6)


@dataclass(frozen=True)
class Rank:
    """Index of this process among all `world_size` processes, and among those on this machine."""

    rank: int = 0
    world_size: int = 1
    local_index: int = 0
    local_world_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this rank writes, prints and saves."""
        return self.rank == 0


#: The rank of a run that is not distributed.
SINGLE_PROCESS = Rank()


#: torchrun's variables for the fields of Rank, in order.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def current_rank() -> Rank:
    """Return the rank of this process, from the variables that torchrun sets.

    Raises:
        UserError: if the variables are not integers, or an index is not below its world size.
    """
    if not is_launched():
        return SINGLE_PROCESS
    values = [os.environ[name] for name in _VARIABLES]
    numbers = [int(value) if value.isdecimal() else -1 for value in values]
    if min(numbers) < 0 or numbers[0] >= numbers[1] or numbers[2] >= numbers[3]:
        settings = ", ".join(f"{name}={value}" for name, value in zip(_VARIABLES, values, strict=True))
        raise UserError(f"invalid torchrun variables in the environment: {settings}; start the ranks with torchrun")
    return Rank(*numbers)


def is_launched() -> bool:
    """Return whether this process was started as a rank, by torchrun or by a run with trainer.devices > 1."""
    return all(name in os.environ for name in _VARIABLES)


def available_cores() -> int:
    """Return the number of CPU cores that this job may use; a scheduler may assign fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the limit of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)


@contextmanager
def process_group(accelerator: str) -> Iterator[Rank]:
    """Initialise the process group inside the context: NCCL for GPUs, gloo for CPUs."""
    rank = current_rank()
    if rank.world_size == 1:
        yield rank
        return
    if accelerator == "gpu":
        torch.cuda.set_device(rank.local_index)
    dist.init_process_group("nccl" if accelerator == "gpu" else "gloo", timeout=_TIMEOUT)
    yield rank
    # Skipped after an error: other ranks may be waiting in a collective, and the launcher ends them.
    dist.barrier()
    dist.destroy_process_group()


def all_gather(value: T) -> list[T]:
    """Return the values of all ranks, in rank order."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def all_reduce(values: Tensor) -> Tensor:
    """Return the sum over the ranks, of the same shape; `values` itself if there is one rank."""
    if not is_distributed():
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def any_rank(flag: bool, device: torch.device) -> bool:
    """Return whether `flag` is true on at least one rank."""
    return bool(all_reduce(torch.tensor(float(flag), device=device))) if is_distributed() else flag


def broadcast_buffers(module: nn.Module) -> None:
    """Broadcast the buffers (running statistics) of rank 0 to every rank."""
    if is_distributed():
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def is_distributed() -> bool:
    """Return whether a process group with more than one rank is initialised."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
