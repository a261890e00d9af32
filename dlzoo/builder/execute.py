"""Run a training from start to finish, in its run directory."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from dlzoo import config as configs
from dlzoo.builder import summary
from dlzoo.builder.failures import one_line_errors
from dlzoo.builder.given import trained_network
from dlzoo.builder.launch import RankError, launch
from dlzoo.builder.locate import locate
from dlzoo.builder.results import record_results
from dlzoo.builder.resume import NotResumedError, assemble
from dlzoo.builder.run_checks import callback_names, check_ranks, check_unchanged, check_unchanged_since_the_end
from dlzoo.builder.weights import load_checkpoint
from dlzoo.config import Config
from dlzoo.config.device import accelerator_and_precision, processes
from dlzoo.config.settings import TrainerSettings
from dlzoo.core import distributed
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.core.registries import HOOKS
from dlzoo.engine.checkpoints import Checkpoints
from dlzoo.engine.display import PatientConsole
from dlzoo.engine.hooks.build import DISPLAY, BuiltHooks, build_hooks
from dlzoo.engine.hooks.hook import HookStart
from dlzoo.engine.hooks.running import RunHooks
from dlzoo.engine.signals import Stop, catch_signals
from dlzoo.runs import checkout, environment, kept_parts
from dlzoo.runs.locations import absolute_paths
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.reuse import copy_training
from dlzoo.runs.run_dir import RunDir, make_folder, now
from dlzoo.runs.run_time import RunTime

if TYPE_CHECKING:
    from pytorch_lightning import Callback


def begin(config: Config, console: Console | None = None, callbacks: Sequence[Callback] = ()) -> RunDir:
    """Create a run directory for a finalised config and run it; return it."""
    if distributed.current_rank().world_size > 1:
        raise UserError("torchrun can only run an existing run directory: torchrun ... -m dlzoo.cli run DIR; or start"
                        " the command without torchrun and set trainer.devices=2")  # fmt: skip
    words = [word.rpartition("=")[2] for word in summary.model_and_parts(config) if word != "act=relu"]
    label = config["name"] or "_".join([*words, summary.data_name(config)])
    path = Path(os.path.expanduser(config["run_dir"])) if config["run_dir"] else make_folder(label)
    run = RunDir.create(path, config)
    try:
        return execute(run, console, callbacks)
    except UserError:
        # The folder was created just now, with a generated name, and the run has not begun.
        if config["run_dir"] is None and not run.has_begun():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def execute(
    run: RunDir, console: Console | None = None, callbacks: Sequence[Callback] = (), places: Sequence[str] = ()
) -> RunDir:
    """Run or resume a run, from its last checkpoint if it has one, and return it. A finished run is not changed.

    A process that was started as a rank does that rank's part. Otherwise, with trainer.devices > 1, the ranks are
    started and waited for.

    Args:
        places: where the data is now, if it was moved: data.root=moved.

    Raises:
        UserError, Interrupted: as `dlzoo.train`.
    """
    with kept_parts.using_kept(run.path, run.read()):
        return _execute(run, console or PatientConsole(), callbacks, places)


def _execute(run: RunDir, console: Console, callbacks: Sequence[Callback], places: Sequence[str]) -> RunDir:
    config, before = configs.read(run.config_file), run.read()
    finished = before["state"] == "finished"
    if finished and distributed.current_rank().world_size == 1:
        check_unchanged_since_the_end(run, config, before)
        console.print(f"{run.path} is finished: nothing to do", soft_wrap=True)
        return run
    hooks = build_hooks(config, run.path)
    check_unchanged(run, config, before, callbacks, hooks.callbacks)
    if distributed.current_rank().leads:
        kept_parts.note_changes(run.path, before)
    config = locate(config, before, places)
    settings = TrainerSettings(**config["trainer"])
    ranks = processes(settings) * settings.nodes
    if not distributed.is_launched() and settings.nodes > 1:
        raise UserError(
            f"trainer.nodes={settings.nodes} needs processes on each machine: set executor=slurm in a sweep (-m), or"
            f" start them with: torchrun --nnodes={settings.nodes} ... -m dlzoo.cli run {run.path}"
        )
    if not distributed.is_launched() and ranks > 1:
        if callbacks:
            raise UserError("callbacks do not work with trainer.devices > 1, which trains in other processes;"
                            " set trainer.devices=1")  # fmt: skip
        _launch(run, settings, ranks, places, quiet=console.quiet)
    else:
        with distributed.process_group(accelerator_and_precision(settings)[0] if ranks > 1 else "cpu") as rank:
            if any(distributed.all_gather(finished)):  # another process finished it before one of the ranks read it
                return run
            check_ranks(run, config, ranks, before.get("ranks", rank.world_size), rank)
            if rank.leads:
                _lead(run, config, before, console, callbacks, hooks)
            else:
                _follow(run, config, before, hooks)
    return run


def _launch(run: RunDir, settings: TrainerSettings, ranks: int, places: Sequence[str], *, quiet: bool) -> None:
    """Start the ranks and wait; record what ended them, which rank 0 does not always know."""
    try:
        accelerator_and_precision(settings)  # raises here once, not in each rank
        environment = kept_parts.environment_for(run.path, run.read())
        launch(run.path, ranks, places, environment, quiet=quiet)
    except BaseException as error:
        with suppress(UserError, OSError), run.lock():
            record = run.read()
            recorded = isinstance(error, RankError) and error.rank == 0 and record["state"] == "failed"
            kept = record["state"] == "interrupted" and record.get("error")  # by rank 0, which could not resume
            if record["state"] != "finished" and not recorded and not kept:
                stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
                run.update(state="interrupted" if stopped else "failed", error=None if stopped else str(error))
        raise


def _lead(
    run: RunDir,
    config: Config,
    before: dict[str, Any],
    console: Console,
    callbacks: Sequence[Callback],
    hooks: BuiltHooks,
) -> None:
    """Run the run and record its state: the part of a single process, or of rank 0 of several."""
    time = RunTime(before, distributed.current_rank().local_world_size)
    with one_line_errors(run), run.lock(), catch_signals() as stop, torch.random.fork_rng(devices=[]):
        if run.read()["state"] == "finished" and not distributed.is_distributed():
            return  # another process finished it before we held the lock
        try:
            run.update(state="running", error=None, versions=environment.versions(), git_commit=checkout.git_commit())
            with one_line_errors(run):
                _run(run, config, before, console, stop, callbacks, hooks)
            run.update(state="finished", finished=now(), **time.fields())
            summary.print_result(console, run.path, run.read())
        except BaseException as error:
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            text = str(error) if isinstance(error, UserError) else traceback.format_exc()
            state, text = ("interrupted", None) if stopped else ("failed", text)
            if isinstance(error, NotResumedError) and before["state"] == "interrupted":
                state = "interrupted"  # it can still be resumed, once the cause is gone
            with suppress(OSError):  # if the disk is full, raise the error rather than fail to record it
                run.update(state=state, error=text, **time.fields())
            if stopped:
                raise Interrupted(f"{str(error) or 'stopped'}; resume with: dlzoo run {run.path}") from None
            raise


def _follow(run: RunDir, config: Config, before: dict[str, Any], hooks: BuiltHooks) -> None:
    """Run the part of a rank other than rank 0: the same training, without files or output."""
    with catch_signals() as stop, one_line_errors(run):
        assembled = assemble(run, config, before, callbacks=[*hooks.callbacks.values()])
        with stop.listening(lambda: setattr(assembled.module, "stop_requested", True)):
            assembled.fit(run.resume_checkpoint(), [stop, Checkpoints(run.last_checkpoint, run.best_checkpoint)])
        distributed.all_gather(None)  # wait until rank 0 has written the checkpoint that is loaded next
        stop.check()
        assembled.load(run.selected_checkpoint())
        assembled.test([stop])
        stop.check()


def _run(
    run: RunDir,
    config: Config,
    before: dict[str, Any],
    console: Console,
    stop: Stop,
    callbacks: Sequence[Callback],
    built: BuiltHooks,
) -> None:
    """Train, test, record the results and draw the plots."""
    if not distributed.is_distributed():
        copy_training(run)
        before = run.read()
    checkpoint, hooks = run.resume_checkpoint(), RunHooks(built.hooks)
    state = load_checkpoint(checkpoint)["task"] if checkpoint else {"clock": 0}
    copied = "training_taken" in before  # without its validations
    logged = None if copied or "checksum" not in state else (state["records"], state["checksum"])
    log = MetricLog(run, state["clock"], logged=logged, listener=hooks.log)
    try:
        assembled = assemble(run, config, before, log.scalars, [*callbacks, *built.callbacks.values()])
        stop.check()
        hooks.fit_start(HookStart(run.path, config, state["clock"], log.records, copied))
        origin = {key: before.get(key) for key in ("init_from", "remarks") if checkpoint and key in before}
        names = callback_names(callbacks, built.callbacks)
        facts = assembled.facts() | assembled.module.loaders.facts() | origin
        run.update(**facts, callbacks=names, paths=absolute_paths(config))
        summary.print_settings(console, run.path, run.read())
        environment.reset_peak_memory(assembled.accelerator)
        display = HOOKS.build(DISPLAY, wiring={"console": console})
        with stop.listening(lambda: setattr(assembled.module, "stop_requested", True)):
            events = [*hooks.callbacks(), Checkpoints(run.last_checkpoint, run.best_checkpoint)]
            assembled.fit(checkpoint, [stop, display, *events], hooks.checkpoint)
        distributed.all_gather(None)  # the checkpoint is written: the other ranks may load it
        stop.check()
        selected = assembled.load(run.selected_checkpoint())
        metrics = assembled.test([stop, display])
        stop.check()
        record_results(run, assembled, log, selected, metrics, hooks)
        trained_network(assembled.module.network, assembled.module.eval_network)
        hooks.fit_end(metrics)
    except BaseException as error:
        hooks.exception(error)
        raise
    finally:
        log.close()
