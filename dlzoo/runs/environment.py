"""What a run was made with: versions, device, memory."""

from __future__ import annotations

import platform
import resource
from importlib.metadata import version

import torch

_PACKAGES = ("dlzoo", "torch", "torchvision", "pytorch-lightning")


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide a result."""
    found = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | found | {"torch": torch.__version__}  # with its CUDA


def device_name(accelerator: str) -> str:
    """The name of the "gpu", or the number of threads of the "cpu"."""
    if accelerator == "gpu":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def reset_peak_memory(accelerator: str) -> None:
    """Forget what was in use before; the process's own peak cannot be forgotten."""
    if accelerator == "gpu":
        torch.cuda.reset_peak_memory_stats()


def peak_memory(accelerator: str) -> int:
    """The most memory that was in use, in bytes: of the GPU if there is one, else of the process."""
    if accelerator == "gpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
