"""Device and precision of a run."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from dlzoo.config.settings import TrainerSettings
from dlzoo.core import distributed
from dlzoo.core.errors import Note, UserError

#: Precisions by Lightning's names.
_LIGHTNING = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
#: Compute capability of the first GPUs that are fast at fp16 (V100).
_TENSOR_CORES = (7, 0)


def accelerator_and_precision(settings: TrainerSettings, *, fp16: bool = True) -> tuple[str, Any]:
    """Return (accelerator, precision) as Lightning names them: ("cpu", "32-true"), ("gpu", "bf16-mixed" or "16-mixed").

    A device that is slow at the requested precision falls back to fp32, with a warning. `fp16`: whether "auto" may be
    fp16.

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
    precision: str = settings.precision
    if precision == "auto":
        fast = [half for half in ("bf16", "fp16") if gpu and is_fast(half, gpu=True) and (fp16 or half == "bf16")]
        precision = fast[0] if fast else "fp32"
    elif precision != "fp32" and not is_fast(precision, gpu=gpu):
        warnings.warn(f"this device computes {precision} many times slower than fp32; using fp32", Note, stacklevel=2)
        precision = "fp32"
    return "gpu" if gpu else "cpu", _LIGHTNING[precision]


def is_fast(precision: str, *, gpu: bool) -> bool:
    """Return whether the GPU, or the CPU, computes bf16 or fp16 at least about as fast as fp32."""
    if gpu and precision == "bf16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if gpu:
        return torch.cuda.get_device_capability() >= _TENSOR_CORES
    # Convolutions in fp16 were 100 times slower than in fp32 on a CPU with AVX-512 FP16 (torch 2.14).
    return precision == "bf16" and "AVX512" in torch.backends.cpu.get_cpu_capability()


def processes(settings: TrainerSettings) -> int:
    """Return the number of processes per machine that share a batch."""
    if settings.devices == "all":
        return 1 if settings.accelerator == "cpu" else max(1, torch.cuda.device_count())
    return settings.devices
