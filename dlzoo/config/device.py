"""Which device a run uses, and how it computes there."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from dlzoo.config.settings import TrainerSettings
from dlzoo.core import distributed
from dlzoo.core.errors import Remark, UserError


def hardware(settings: TrainerSettings) -> tuple[str, Any]:
    """(accelerator, precision) in Lightning's words: ("cpu", "32-true") or ("gpu", "bf16-mixed").

    A device without fast bf16 falls back to fp32, with a warning if bf16 was asked for.

    Raises:
        UserError: if there are fewer GPUs than were asked for, or far fewer cores than processes.
    """
    gpus, wanted = torch.cuda.device_count(), processes(settings)
    gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    if settings.accelerator == "gpu" and not gpu:
        raise UserError("trainer.accelerator=gpu: torch sees no GPU here; say trainer=auto, cpu or ddp_cpu")
    if gpu and wanted > gpus:
        raise UserError(f"trainer.devices={settings.devices}: torch sees {gpus} GPU(s) here")
    if not gpu and wanted > 4 * distributed.cores():
        raise UserError(f"trainer.devices={settings.devices}: too many processes for {distributed.cores()} cores")
    if gpu:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = "AVX512" in torch.backends.cpu.get_cpu_capability()
    if settings.precision == "bf16" and not fast:
        warnings.warn("this device computes bf16 many times slower than fp32: using fp32", Remark, stacklevel=2)
    half = fast and (settings.precision == "bf16" or (gpu and settings.precision == "auto"))
    return "gpu" if gpu else "cpu", "bf16-mixed" if half else "32-true"


def processes(settings: TrainerSettings) -> int:
    """How many processes of a machine share a batch."""
    if settings.devices == "all":
        return 1 if settings.accelerator == "cpu" else max(1, torch.cuda.device_count())
    return settings.devices
