"""Trainings from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlzoo.api.run import Run
from dlzoo.runs.run_dir import RunDir

if TYPE_CHECKING:
    from dlzoo.engine.callbacks import Callback


def train(overrides: Sequence[str] = (), *, quiet: bool = False, callbacks: Sequence[Callback] = ()) -> Run:
    """Compose and check a config, write it to a new run directory and run it; ["resume=DIR"] resumes a run.

    Args:
        overrides: settings, as on the command line: ["model=densenet121", "norm=gn"].
        quiet: whether to print nothing.
        callbacks: your own Lightning callbacks. One that overrides a hook of batches, backward passes or optimizer
            steps is called for each step (`batch` is then the range of that one step), which costs about half a
            millisecond per step; optimizers that take a closure (sam, lbfgs, newton) step without
            `on_before_optimizer_step`. Other callbacks cost a few milliseconds per epoch.

    Raises:
        UserError: for an error that the user can fix.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    from dlzoo import config as configs
    from dlzoo.builder.execute import begin, execute
    from dlzoo.engine.display import PatientConsole

    console = PatientConsole(quiet=quiet)
    if len(overrides) == 1 and overrides[0].startswith("resume="):
        run = execute(RunDir.open(overrides[0].removeprefix("resume=")), console, callbacks)
    else:
        run = begin(configs.compose(overrides), console, callbacks)
    return Run(run.path)
