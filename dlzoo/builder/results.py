"""The results of a run, in its run directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlzoo.builder.result_notes import result_notes, selecting_step
from dlzoo.builder.trainer import Assembled
from dlzoo.engine.checkpoints import kept_best
from dlzoo.engine.hooks.running import RunHooks
from dlzoo.runs import environment
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.base import Tested

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def record_results(
    run: RunDir,
    assembled: Assembled,
    log: MetricLog,
    selected: dict[str, Any],
    metrics: dict[str, float],
    hooks: RunHooks,
) -> None:
    """Write metrics, predictions and plots of a tested run; `selected` is the training state of its checkpoint."""
    module, schedule = assembled.module, assembled.module.schedule
    clock = module.state.clock
    log.scalars(clock, schedule.epochs_at(clock), metrics)
    # Validation metrics of a reused training belong to its source run.
    kept = ("train/",) if "training_taken" in run.read() else ("train/", "val/")
    run.write_predictions(module.tested.predictions())
    run.update(
        metrics={key: value for key, value in selected["latest"].items() if key.startswith(kept)} | metrics,
        tested=module.tested.count,
        by_class=module.tested.by_class(),
        zero_weights=assembled.zero_weights(),
        selected_epoch=schedule.epochs_at(selected["clock"]),
        steps=clock,
        images_per_second=clock * assembled.data.batch_size / max(module.state.train_seconds, 1e-9),
        peak_memory_bytes=environment.peak_memory(assembled.accelerator),
        data_cache=module.loaders.train.images.place,
    )
    records = read_metrics(run.metrics_file)
    if assembled.settings.limit_batches is None:  # a part of each split shows nothing
        run.update(result_notes=result_notes(module, records, selecting_step(run, selected)))
    if best := kept_best(module):
        run.update(kept_best=best)
    plots = draw(assembled, Tested(module, assembled.data, records, run.path.name))
    for name, figure in plots.items():
        hooks.plot(name, log.plot(name, figure), clock)
    run.update(pictures=list(plots))


def draw(assembled: Assembled, tested: Tested) -> dict[str, Figure]:
    """Return {name: plot} of a run after its test."""
    return assembled.spec.plots(tested)
