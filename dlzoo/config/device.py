"""Device and precision of a run."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from dlzoo.config.settings import TrainerSettings
from dlzoo.core import distributed
from dlzoo.core.errors import Note, UserError


def accelerator_and_precision(settings: TrainerSettings) -> tuple[str, Any]:
    """Return (accelerator, precision) as Lightning names them: ("cpu", "32-true") or ("gpu", "bf16-mixed").

    A device without fast bf16 falls back to fp32, with a warning if bf16 was requested.

    Raises:
        UserError: if fewer GPUs are available than requested, or far fewer cores than processes.
    """
    gpus, requested = torch.cuda.device_count(), processes(settings)
    gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    if settings.accelerator == "gpu" and not gpu:
        raise UserError("trainer.accelerator=gpu: torch sees no GPU here; set trainer=auto, cpu or ddp_cpu")
    if gpu and requested > gpus:
        raise UserError(f"trainer.devices={settings.devices}: torch sees {gpus} GPU(s) here; set at most that many")
    if not gpu and requested > 4 * distributed.available_cores():
        raise UserError(
            f"trainer.devices={settings.devices}: too many processes for {distributed.available_cores()} cores;"
            " set fewer"
        )
    if gpu:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = "AVX512" in torch.backends.cpu.get_cpu_capability()
    if settings.precision == "bf16" and not fast:
        warnings.warn("this device computes bf16 many times slower than fp32; using fp32", Note, stacklevel=2)
    half = fast and (settings.precision == "bf16" or (gpu and settings.precision == "auto"))
    return "gpu" if gpu else "cpu", "bf16-mixed" if half else "32-true"


def processes(settings: TrainerSettings) -> int:
    """Return the number of processes per machine that share a batch."""
    if settings.devices == "all":
        return 1 if settings.accelerator == "cpu" else max(1, torch.cuda.device_count())
    return settings.devices
