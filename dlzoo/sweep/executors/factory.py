"""Make an executor from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlzoo.config import Config
from dlzoo.config.executor import LocalSettings, RaySettings, Settings, SlurmSettings
from dlzoo.sweep.executors.job import Executor


def make_executor(kind: str, settings: Settings, folder: Path, configs: Sequence[Config]) -> Executor:
    """Make an executor for runs of these configs; it writes its own files to `folder`.

    Raises:
        UserError: if it is not installed or cannot be reached.
    """
    if isinstance(settings, LocalSettings):
        from dlzoo.sweep.executors.local import LocalExecutor

        return LocalExecutor(settings, configs)
    if isinstance(settings, SlurmSettings):
        from dlzoo.sweep.executors.slurm import SlurmExecutor

        return SlurmExecutor(settings, folder, here=kind == "slurm_local")
    assert isinstance(settings, RaySettings)
    from dlzoo.sweep.executors.ray import RayExecutor

    return RayExecutor(settings)
