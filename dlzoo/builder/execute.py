"""A run from its first line to its last: one process over one directory."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from dlzoo import config as configs
from dlzoo.builder import summary
from dlzoo.builder.launch import RankError, launch
from dlzoo.builder.profile import without_weights
from dlzoo.builder.trainer import Assembled
from dlzoo.builder.weights import load_checkpoint
from dlzoo.config.device import hardware, processes
from dlzoo.config.settings import TrainerSettings
from dlzoo.core import distributed
from dlzoo.core.distributed import Rank
from dlzoo.core.errors import Interrupted, UserError, first_line
from dlzoo.engine.checkpoints import Checkpoints
from dlzoo.engine.display import Display, PatientConsole
from dlzoo.engine.recipe import Record
from dlzoo.engine.signals import Stop, signals
from dlzoo.runs import checkout, environment
from dlzoo.runs.differences import flat
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.reuse import copy_training
from dlzoo.runs.run_dir import RunDir, fresh_folder, now
from dlzoo.tasks.base import Tested

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pytorch_lightning import Callback

Config = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run that was carried out: where it lies and what it measured, {"test/accuracy": ...}."""

    dir: Path
    metrics: dict[str, float]


def train(overrides: Sequence[str] = (), *, quiet: bool = False, callbacks: Sequence[Callback] = ()) -> Run:
    """Compose, check and freeze a config into a new run directory, and carry it out; ["resume=DIR"] goes on with one.

    Args:
        callbacks: Lightning callbacks of one's own. One that overrides a hook of batches, backward passes or optimizer
            steps is called for each step (`batch` is then the range of that one step), which costs about half a
            millisecond a step; optimizers that ask for the loss themselves (sam, lbfgs, newton) step without
            `on_before_optimizer_step`. The others cost a few milliseconds an epoch.

    Raises:
        UserError: for anything that the user can mend.
        Interrupted: after Ctrl-C, when the checkpoint is written.
    """
    console = PatientConsole(quiet=quiet)
    if len(overrides) == 1 and overrides[0].startswith("resume="):
        return execute(RunDir.open(overrides[0].removeprefix("resume=")), console, callbacks)
    return begin(configs.compose(overrides), console, callbacks)


def begin(config: Config, console: Console | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """`train`, of a config that is frozen already."""
    if distributed.here().world > 1:
        raise UserError("a rank carries out a run that is there: torchrun ... -m dlzoo.cli run DIR; or leave torchrun"
                        " out and say trainer.devices=2, which starts the ranks by itself")  # fmt: skip
    words = [word.rpartition("=")[2] for word in summary.model_and_parts(config) if word != "act=relu"]
    label = config["name"] or "_".join([*words, config["data"]["name"]])
    path = Path(os.path.expanduser(config["run_dir"])) if config["run_dir"] else fresh_folder(label)
    run = RunDir.create(path, config)
    try:
        return execute(run, console, callbacks)
    except UserError:
        # A folder that was made and named here a moment ago, and that nothing happened in.
        if config["run_dir"] is None and not run.has_begun():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def execute(run: RunDir, console: Console | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """Carry out a run, from its last checkpoint if it has one. A finished run is left as it is.

    In a process that was started as a rank this is that rank's part. Otherwise, with trainer.devices > 1, the ranks are
    started and waited for.

    Raises:
        UserError, Interrupted: as `train`.
    """
    console = console or PatientConsole()
    config, before = configs.read(run.config_file), run.read()
    finished, alone = before["state"] == "finished", distributed.here().world == 1
    if finished and alone:
        console.print(f"{run.path} is finished: nothing to do", soft_wrap=True)
        return Run(run.path, before["metrics"])
    settings = TrainerSettings(**config["trainer"])
    wanted = processes(settings) * settings.nodes
    if not distributed.launched() and settings.nodes > 1:
        raise UserError(
            f"trainer.nodes={settings.nodes} needs processes on each machine: say executor=slurm in a sweep (-m), or"
            f" start them by: torchrun --nnodes={settings.nodes} ... -m dlzoo.cli run {run.path}"
        )
    if not distributed.launched() and wanted > 1:
        if callbacks:
            raise UserError("callbacks are objects of this process, and trainer.devices > 1 trains in others")
        _launch(run, settings, wanted, quiet=console.quiet)
    else:
        with distributed.joined(hardware(settings)[0] if wanted > 1 else "cpu") as rank:
            if any(distributed.gathered(finished)):  # by another process, before one of us looked
                return Run(run.path, run.read()["metrics"])
            _agree(run, config, wanted, before.get("ranks", rank.world), rank)
            if rank.leads:
                _lead(run, config, before, console, callbacks)
            else:
                _follow(run, config, before)
    return Run(run.path, run.read()["metrics"])


def _launch(run: RunDir, settings: TrainerSettings, wanted: int, *, quiet: bool) -> None:
    """Start the ranks and wait; what ended them is known here, and not always to the one that leads."""
    try:
        hardware(settings)  # before there are a thousand of them
        launch(run.path, wanted, quiet=quiet)
    except BaseException as error:
        with suppress(UserError, OSError), run.lock():
            said_it_itself = isinstance(error, RankError) and error.rank == 0 and run.read()["state"] == "failed"
            if run.read()["state"] != "finished" and not said_it_itself:
                stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
                run.update(state="interrupted" if stopped else "failed", error=None if stopped else str(error))
        raise


def _agree(run: RunDir, config: Config, wanted: int, begun: int, rank: Rank) -> None:
    """Make sure that all ranks carry out the same.

    Raises:
        UserError: if they are not as many as the config says, or as the run was begun with, or read different configs.
    """
    if rank.world != wanted:
        said = ", ".join(f"trainer.{key}={config['trainer'][key]}" for key in ("devices", "nodes"))
        raise UserError(f"{run.config_file} says {said}, and there are {rank.world} ranks for {wanted} devices")
    if rank.world != begun:
        raise UserError(f"{run.path} was begun on {begun} devices, and cannot go on on {rank.world}: start a new run")
    if len(set(distributed.gathered(json.dumps(config, sort_keys=True)))) > 1:
        raise UserError(f"{run.config_file} is not the same for every rank; is {run.path} a folder that all share?")


def _lead(run: RunDir, config: Config, before: dict[str, Any], console: Console, callbacks: Sequence[Callback]) -> None:
    """Carry out a run and write down how it goes: what one process does, or rank 0 of several."""
    started = perf_counter()

    def wall_seconds() -> float:
        return before.get("wall_seconds", 0.0) + perf_counter() - started

    with _plain_errors(run), run.lock(), signals() as stop, torch.random.fork_rng(devices=[]):
        if run.read()["state"] == "finished" and not distributed.several():
            return  # by another process, between our look and our lock
        try:
            run.update(state="running", error=None, versions=environment.versions(), git_commit=checkout.git_commit())
            with _plain_errors(run):
                _carry_out(run, config, before, console, stop, callbacks)
            run.update(state="finished", finished=now(), wall_seconds=wall_seconds())
            summary.after(console, run.path, run.read())
        except BaseException as error:
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            text = str(error) if isinstance(error, UserError) else traceback.format_exc()
            state, text = ("interrupted", None) if stopped else ("failed", text)
            with suppress(OSError):  # on a full disk the error itself matters more than its record
                run.update(state=state, error=text, wall_seconds=wall_seconds())
            if stopped:
                raise Interrupted(f"{str(error) or 'stopped'}; go on with: dlzoo run {run.path}") from None
            raise


@contextmanager
def _plain_errors(run: RunDir) -> Iterator[None]:
    """Inside, what a full disk, a full memory or a missing compiler raises becomes a line that says so."""
    try:
        yield
    except OSError as error:  # a folder that cannot be written, a disk that is full
        raise UserError(f"{run.path}: {error}") from error
    except (RuntimeError, MemoryError, OverflowError) as error:
        if isinstance(error, OverflowError) or "without overflow" in str(error):
            raise UserError(
                f"a setting is too large to compute with ({first_line(error)}); look at optimizer.*"
            ) from error
        if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
            raise UserError(f"out of memory ({first_line(error)}); choose a smaller data.batch_size, "
                            "trainer.accumulate > 1, or a smaller model") from error  # fmt: skip
        if "C++ compiler" in str(error):
            raise UserError("trainer.compile=true needs a C++ compiler (g++ or clang++), and there is none") from error
        raise


def _follow(run: RunDir, config: Config, before: dict[str, Any]) -> None:
    """The part of a rank that does not lead: the same training, nothing written and nothing said."""
    with signals() as stop, _plain_errors(run):
        made = _assembled(run, config, before)
        with stop.listening(lambda: setattr(made.task, "stop_requested", True)):
            made.fit(run.resume_checkpoint(), [stop, Checkpoints(run.last_checkpoint, run.best_checkpoint)])
        distributed.gathered(None)  # the one that leads has written what is loaded now
        stop.check()
        made.load(run.selected_checkpoint())
        made.test([stop])
        stop.check()


def _assembled(
    run: RunDir,
    config: Config,
    before: dict[str, Any],
    record: Record = lambda step, epoch, values: None,
    callbacks: Sequence[Callback] = (),
) -> Assembled:
    """The objects of a run, with the weights of its last checkpoint if it has one.

    Raises:
        UserError: if the data is not what the run began with, or not the same for every rank.
    """
    checkpoint = run.resume_checkpoint()
    # A checkpoint has the weights that came from elsewhere.
    made = Assembled(without_weights(config) if checkpoint else config, record, callbacks=callbacks)
    if checkpoint:
        if before.get("data_fingerprint") != made.data.fingerprint:
            raise UserError(f"{run.path}: the data is not what the run began with; start a new run")
        made.load(checkpoint)
        torch.set_num_threads(before["threads"])  # as many as it began with: they decide how sums are rounded
    if distributed.several() and len(set(distributed.gathered(made.data.fingerprint))) > 1:
        raise UserError(f"{run.path}: the data is not the same for every rank")
    return made


def _carry_out(
    run: RunDir,
    config: Config,
    before: dict[str, Any],
    console: Console,
    stop: Stop,
    callbacks: Sequence[Callback],
) -> None:
    """Train, test, write down and draw."""
    _refuse_change(run, config, before, callbacks)
    if not distributed.several():
        copy_training(run)
        before = run.read()
    checkpoint = run.resume_checkpoint()
    clock = load_checkpoint(checkpoint)["task"]["clock"] if checkpoint else 0
    log = MetricLog(run, clock, copied="training_taken" in before)
    try:
        made = _assembled(run, config, before, log.scalars, callbacks)
        stop.check()
        task, schedule = made.task, made.task.schedule
        origin = {"init_from": before.get("init_from")} if checkpoint else {}
        run.update(**made.facts() | origin, callbacks=[type(callback).__name__ for callback in callbacks])
        summary.before(console, run.path, run.read())
        environment.reset_peak_memory(made.accelerator)
        display = Display(console)
        with stop.listening(lambda: setattr(task, "stop_requested", True)):
            made.fit(checkpoint, [stop, display, Checkpoints(run.last_checkpoint, run.best_checkpoint)])
        distributed.gathered(None)  # the others may load what was written
        stop.check()
        selected = made.load(run.selected_checkpoint())
        metrics = made.test([stop, display])
        stop.check()
        clock = task.state.clock
        log.scalars(clock, schedule.epochs_at(clock), metrics)
        kept = ("train/",) if "training_taken" in before else ("train/", "val/")  # validation was another run's
        run.write_predictions(task.tested.predictions())
        run.update(
            metrics={key: value for key, value in selected["latest"].items() if key.startswith(kept)} | metrics,
            tested=task.tested.count,
            by_class=task.tested.by_class(),
            zero_weights=made.zero_weights(),
            selected_epoch=schedule.epochs_at(selected["clock"]),
            steps=clock,
            images_per_second=clock * made.data.batch_size / max(task.state.train_seconds, 1e-9),
            peak_memory_bytes=environment.peak_memory(made.accelerator),
            data_cache=task.loaders.train.images.place,
        )
        drawn = draw(made, Tested(task, made.data, read_metrics(run.metrics_file), run.path.name))
        for name, figure in drawn.items():
            log.plot(name, figure, clock)
        run.update(pictures=list(drawn))
        log.hyperparameters(flat(config), metrics)
    finally:
        log.close()


def draw(made: Assembled, tested: Tested) -> dict[str, Figure]:
    """Return name -> plot of a run after its test."""
    return made.spec.plots(tested)


def _refuse_change(run: RunDir, config: Config, before: dict[str, Any], callbacks: Sequence[Callback]) -> None:
    """A run that began goes on as it began, or not at all.

    Raises:
        UserError: if its config was edited, or it is to have other callbacks.
    """
    names = [type(callback).__name__ for callback in callbacks]
    if before.get("callbacks", names) != names:
        raise UserError(
            f"{run.path} was begun with callbacks={before['callbacks']}, not {names}; go on with it by"
            f" dlzoo.train(['resume={run.path}'], callbacks=[...])"
        )
    now, then = flat(config), flat(before["config"])
    edited = [key for key in now if now[key] != then.get(key)]
    if edited:
        key = edited[0]
        raise UserError(
            f"{run.config_file} was edited since the run was made ({key}: {then.get(key)} -> {now[key]});"
            " start a new run"
        )
