"""Print what a bug report needs: the versions of dlzoo and of the packages it uses, and the hardware."""

from __future__ import annotations

import os
import platform
from argparse import Namespace
from importlib import metadata

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import first_line

HELP = "print what a bug report needs, versions and hardware: dlzoo --version"

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "numpy")


def arguments(parser: Parser) -> None:
    """Add nothing."""


def run(arguments: Namespace) -> None:
    """Print a line for each fact."""
    import dlzoo
    from dlzoo.runs.checkout import git_commit

    facts = {
        "dlzoo": dlzoo.__version__,
        "commit": git_commit() or "none (not a checkout)",
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _installed_version(name) for name in _PACKAGES},
        "CPU": f"{os.cpu_count()} cores, {platform.machine()}",
        **_torch_facts(),
    }
    width = max(map(len, facts))
    print("\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items()))


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _torch_facts() -> dict[str, str]:
    """Return the facts that need torch. A failing import is reported, too: the bug may be that installation."""
    try:
        import torch
        import torchvision  # noqa: F401  one that was not built for this torch fails here

        from dlzoo.core.distributed import available_cores

        built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return {
            "torch": f"{torch.__version__} ({built_for})",
            "threads": f"torch computes with {torch.get_num_threads()}; this process may use {available_cores()} cores",
            "GPU": ", ".join(gpus) or "none that torch can use",
        }
    except Exception as error:
        return {"GPU": f"not checked: {first_line(error)}"}
