"""Parameters and multiply-accumulates of a network, counted on the meta device."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dlzoo.builder.model import build_checked
from dlzoo.config import Config
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.registries import PARTS


def count_params_and_macs(config: Config, wiring: dict[str, Any], batch_size: int) -> tuple[int, int]:
    """Return (parameters, multiply-accumulates of one image), from a training forward pass on the meta device.

    Raises:
        UserError: if the network does not accept images of this size, or this batch size.
    """
    about = {section: config[section] for section in ("model", *PARTS, "init", "backbone")}
    return _count_params_and_macs(json.dumps(about), tuple(wiring.items()), batch_size)


class _SkipNorms(TorchDispatchMode):
    """Skip the arithmetic of norms, which torch decomposes into many small operations on the meta device.

    This is most of the counting time of a DenseNet; norms count as 0 multiply-accumulates.
    """

    _NORMS = (
        torch.ops.aten.native_batch_norm.default,
        torch.ops.aten.native_group_norm.default,
        torch.ops.aten.native_layer_norm.default,
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._NORMS:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        return func(*args, **(kwargs or {}))


@lru_cache  # a sweep has many runs with few networks
def _count_params_and_macs(about: str, wired: tuple[tuple[str, int], ...], batch_size: int) -> tuple[int, int]:
    config, wiring = json.loads(about), dict(wired)
    counter = FlopCounterMode(display=False)
    name = config["model"]["name"]
    where = f"model={name} cannot train on {batch_size} image(s) of {wiring['image_size']} px"
    with torch.device("meta"):
        network = build_checked(config, wiring).train()
        try:
            images = torch.empty(batch_size, wiring["in_channels"], wiring["image_size"], wiring["image_size"])
            with counter, _SkipNorms(), torch.no_grad():
                network(images)
        except (RuntimeError, ValueError) as error:  # ValueError: torch's batch norm for one value per channel
            raise UserError(f"{where}: {first_line(error)}") from error
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    # torch counts two floating-point operations for a multiply-accumulate.
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2 // batch_size
