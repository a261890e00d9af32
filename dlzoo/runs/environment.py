"""What a run was made with: versions, commit, device, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch

_PACKAGES = ("dlzoo", "torch", "torchvision", "pytorch-lightning")


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide a result."""
    found = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | found | {"torch": torch.__version__}  # with its CUDA


def git_commit() -> str | None:
    """The commit that the code is at, with "-dirty" after it if the code was changed since; None outside a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # an installed package may lie inside somebody else's repository
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    with suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return None


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
