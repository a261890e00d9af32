"""Environment of a run: versions, device, memory."""

from __future__ import annotations

import platform
import resource
from functools import cache
from importlib.metadata import version

import torch

from dlzoo.core import distributed

_PACKAGES = ("dlzoo", "torch", "torchvision", "pytorch-lightning")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that determine a result."""
    return {"python": platform.python_version()} | _installed() | {"torch": torch.__version__}  # with its CUDA version


@cache
def _installed() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


def device_name(accelerator: str) -> str:
    """Return the name of the "gpu", or the number of threads of the "cpu"."""
    if accelerator == "gpu":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def reset_peak_memory(accelerator: str) -> None:
    """Reset the GPU's peak memory; the peak of the process cannot be reset."""
    if accelerator == "gpu":
        torch.cuda.reset_peak_memory_stats()


def memory(accelerator: str) -> int:
    """Return the bytes of memory for this process: of its GPU if it is used, else its share of the machine's."""
    if accelerator == "gpu":
        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return distributed.available_memory() // distributed.current_rank().local_world_size


def peak_memory(accelerator: str) -> int:
    """Return the peak memory in bytes: of the GPU if it is used, else of the process."""
    if accelerator == "gpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
