"""From the settings of an executor to the executor."""

from __future__ import annotations

from pathlib import Path

from dlzoo.executors.job import Executor
from dlzoo.executors.settings import LocalSettings, RaySettings, Settings, SlurmSettings


def executor(kind: str, settings: Settings, folder: Path, runs: int) -> Executor:
    """An executor for so many runs, which keeps what it has to keep under `folder`.

    Raises:
        UserError: if it is not installed or cannot be reached.
    """
    if isinstance(settings, LocalSettings):
        from dlzoo.executors.local import LocalExecutor

        return LocalExecutor(settings, runs)
    if isinstance(settings, SlurmSettings):
        from dlzoo.executors.slurm import SlurmExecutor

        return SlurmExecutor(settings, folder, here=kind == "slurm_local")
    assert isinstance(settings, RaySettings)
    from dlzoo.executors.ray import RayExecutor

    return RayExecutor(settings)
