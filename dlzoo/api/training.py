"""Trainings from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlzoo.api.run import Run
from dlzoo.runs.run_dir import RunDir

if TYPE_CHECKING:
    from torch import nn

    from dlzoo.core.given import MapDataset
    from dlzoo.engine.callbacks import Callback


def train(
    overrides: Sequence[str] = (),
    *,
    model: nn.Module | None = None,
    data: tuple[MapDataset, MapDataset] | tuple[MapDataset, MapDataset, MapDataset] | None = None,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Compose and check a config, write it to a new run directory and run it; ["resume=DIR"] resumes a run.

    Args:
        overrides: settings, as on the command line: ["model=densenet121", "norm=gn"].
        model: your own network, images (N, C, H, W) -> (N, K). It is trained in place, from the weights that it has,
            and has the tested weights afterwards.
        data: your own data sets, (train, test) or (train, validation, test), whose items are pairs (image, target): an
            image is a PIL image, a uint8 array (H, W, C) or a tensor (C, H, W), a target a class or numbers to predict.
            Python's, NumPy's and torch's generators are seeded before each item is read.
        quiet: whether to print nothing.
        callbacks: your own Lightning callbacks. One that overrides a hook of batches, backward passes or optimizer
            steps is called for each step (`batch` is then the range of that one step), which costs about half a
            millisecond per step; optimizers that take a closure (sam, lbfgs, newton) step without
            `on_before_optimizer_step`. Other callbacks cost a few milliseconds per epoch.

    Raises:
        UserError: for an error that the user can fix, such as a key that is set twice.
        Interrupted: after Ctrl-C, once the checkpoint is written.
    """
    from dlzoo.builder.execute import begin, execute
    from dlzoo.builder.given import check_objects, compose_with
    from dlzoo.config.overrides import refuse_twice
    from dlzoo.core.given import given, giving
    from dlzoo.core.own_parts import typed_parts
    from dlzoo.engine.display import PatientConsole

    console = PatientConsole(quiet=quiet)
    with giving(check_objects(model, data)), typed_parts(overrides) as words:
        if len(words) == 1 and words[0].startswith("resume="):
            run = execute(RunDir.open(words[0].removeprefix("resume=")), console, callbacks)
        else:
            refuse_twice(words, "the list")
            run = begin(compose_with(words, given()), console, callbacks)
    return Run(run.path)
