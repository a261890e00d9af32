"""Whole runs, small: what is written, that it repeats, that it goes on after a stop, that it can be used."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import dlzoo
from dlzoo import execute as execution
from dlzoo import size
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.data.feed import Normalise
from dlzoo.data.image_set import channel_statistics
from dlzoo.data.splits import Splits
from dlzoo.errors import Interrupted, UserError
from dlzoo.evaluate import evaluate
from dlzoo.predict import predict
from dlzoo.runs.metric_log import read_metrics
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.plan import Plan
from dlzoo.tasks.task import Task
from dlzoo.weights import below
from tests.conftest import draw_pictures

SMALL = [
    "model=mlp",
    "model.hidden=[16]",
    "data.limit=200",
    "data.batch_size=40",
    "trainer.max_epochs=3",
    "trainer=cpu",
]
CONV = [
    "trainer=cpu",
    "model=resnet20",
    "model.width=4",
    "data.limit=160",
    "data.batch_size=32",
    "trainer.max_epochs=2",
]


def train(*overrides: str) -> execution.Run:
    return dlzoo.train(overrides, quiet=True)


def weights(run: execution.Run | RunDir) -> dict[str, Tensor]:
    path = (run.dir if isinstance(run, execution.Run) else run.path) / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_leaves_everything_behind() -> None:
    run = train(*SMALL)
    record = json.loads((run.dir / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["error"] is None
    assert record["seed"] == 0
    assert record["params"] == 64 * 16 + 16 + 16 * 10 + 10
    assert record["macs"] == 64 * 16 + 16 * 10
    assert record["steps"] == 15
    assert record["images_per_second"] > 0
    assert record["wall_seconds"] > 0
    assert record["peak_memory_bytes"] > 1e7
    assert record["data_sizes"] == {"train": 200, "val": 143, "test": 200}
    assert record["versions"]["torch"] == torch.__version__
    for name in ("accuracy", "accuracy_top5", "f1_macro", "calibration_error", "loss"):
        assert 0 <= record["metrics"][f"test/{name}"] < 5
        assert f"val/{name}" in record["metrics"]
    assert record["config"] == yaml.safe_load((run.dir / "config.yaml").read_text())
    assert run.metrics == record["metrics"]
    assert sorted(path.name for path in (run.dir / "pictures").iterdir()) == [
        "confusion.png",
        "curves.png",
        "mistakes.png",
    ]
    for path in (run.dir / "pictures").iterdir():
        with Image.open(path) as picture:
            assert picture.size[0] > 300
    records = read_metrics(run.dir / "metrics.jsonl")
    assert [r["step"] for r in records if "train/loss" in r] == [5, 10, 15]
    assert [r["step"] for r in records if "val/loss" in r] == [5, 10, 15]
    assert [path.name for path in (run.dir / "checkpoints").iterdir() if path.suffix != ".ckpt"] == []
    board = EventAccumulator(str(run.dir), size_guidance={"scalars": 0})
    board.Reload()
    assert {"confusion", "curves", "mistakes"} <= set(board.Tags()["images"])
    for tag in ("train/loss", "val/accuracy", "lr"):
        logged = [(r["step"], pytest.approx(r[tag])) for r in records if tag in r]
        assert [(event.step, event.value) for event in board.Scalars(tag)] == logged
    assert "_hparams_/session_start_info" in board.summary_metadata


def test_digits_are_learnt() -> None:
    assert train("trainer.max_epochs=6", "model.width=8").metrics["test/accuracy"] > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = train(*CONV), train(*CONV), train(*CONV, "seed=1")
    assert same(weights(first), weights(again))
    assert first.metrics == again.metrics
    assert not same(weights(first), weights(other))


def test_how_steps_are_cut_into_ranges_changes_nothing() -> None:
    whole, cut = train(*CONV), train(*CONV, "trainer.log_every=1", "trainer.checkpoint_every=2")
    assert same(weights(whole), weights(cut))
    with_loss = [r for r in read_metrics(cut.dir / "metrics.jsonl") if "train/loss" in r]
    assert [r["step"] for r in with_loss] == list(range(1, 11))


def test_the_same_seed_means_the_same_batches_for_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {}
    from dlzoo.tasks.classify import Classify

    loss = Classify.loss

    def spy(self: Classify, batch: object) -> object:
        seen.setdefault(type(self.network).__name__, []).append(batch.images.clone())  # type: ignore[attr-defined]
        return loss(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Classify, "loss", spy)
    train(*SMALL)
    train("model=linear", *SMALL[2:])
    assert len(seen["MLP"]) == len(seen["Linear"]) == 15
    assert all(torch.equal(a, b) for a, b in zip(seen["MLP"], seen["Linear"], strict=True))


def test_accumulation_is_the_same_training_in_smaller_parts() -> None:
    whole, parts = train(*SMALL), train(*SMALL, "trainer.accumulate=4")
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[key], value, rtol=1e-4, atol=1e-5)


def test_full_batch_is_one_step_an_epoch() -> None:
    run = train("model=linear", "data.batch_size=full", "trainer.max_epochs=2", "data.limit=100")
    record = RunDir.open(run.dir).read()
    assert (record["batch_size"], record["steps_per_epoch"], record["steps"]) == (100, 1, 2)


def test_averaged_weights_follow_their_recurrence_and_are_what_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, Tensor]] = []
    step = Task._step

    def spy(self: Task, number: int) -> None:
        step(self, number)
        states.append({key: value.clone() for key, value in self.network.state_dict().items()})

    monkeypatch.setattr(Task, "_step", spy)
    run = train(*CONV, "trainer.ema=0.8", "trainer.select=last")
    average = states[0]
    for state in states[1:]:
        average = {key: 0.8 * average[key] + 0.2 * value if value.is_floating_point() else value
                   for key, value in state.items()}  # fmt: skip
    saved = below(weights(run), "ema")
    for key, value in average.items():
        torch.testing.assert_close(saved[key], value)
    network = size.network_of(
        RunDir.open(run.dir).read()["config"], {"num_classes": 10, "in_channels": 1, "image_size": 8}
    )
    network.load_state_dict(saved)
    data = Splits.load(RunDir.open(run.dir).read()["config"]["data"])
    images = Normalise(*channel_statistics(data.train.images))(data.test.images.permute(0, 3, 1, 2))
    with torch.no_grad():
        hits = network.eval()(images).argmax(1) == data.test.labels
    assert run.metrics["test/accuracy"] == pytest.approx(hits.float().mean().item())


def test_gradients_are_clipped_to_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {}
    step = Task._step

    def spy(self: Task, number: int) -> None:
        before = torch.cat([p.detach().flatten() for p in self.network.parameters()]).clone()
        step(self, number)
        after = torch.cat([p.detach().flatten() for p in self.network.parameters()])
        first.setdefault("moved", (after - before).norm().item())

    monkeypatch.setattr(Task, "_step", spy)
    train(*SMALL, "trainer.clip_norm=0.01", "optimizer.lr=1", "optimizer.weight_decay=0", "optimizer.momentum=0")
    assert first["moved"] == pytest.approx(0.01, rel=1e-3)


def test_clipping_ema_decay_and_scaled_rate_reach_the_training() -> None:
    plain = train(*SMALL)
    for extra in ("trainer.clip_norm=0.01", "optimizer.decay=weights", "optimizer.lr_reference_batch=80"):
        assert not same(weights(plain), weights(train(*SMALL, extra))), extra
    record = RunDir.open(train(*SMALL, "optimizer.lr_reference_batch=80").dir).read()
    assert record["effective_lr"] == pytest.approx(0.05)
    averaged = weights(train(*SMALL, "trainer.ema=0.9"))
    assert same(weights(plain), {key: value for key, value in averaged.items() if not key.startswith("ema.")})
    assert not torch.equal(averaged["ema.head.weight"], averaged["network.head.weight"])


def test_early_stopping_stops_and_the_best_epoch_is_tested() -> None:
    run = train(*SMALL, "trainer.max_epochs=50", "trainer.early_stopping=3", "optimizer.lr=0.5")
    record = RunDir.open(run.dir).read()
    accuracies = [r["val/accuracy"] for r in read_metrics(run.dir / "metrics.jsonl") if "val/accuracy" in r]
    epochs = len(accuracies)
    assert epochs < 50
    assert record["steps"] == epochs * 5
    assert max(accuracies[:-3]) == max(accuracies)  # the last three brought nothing better
    best = max(range(epochs), key=lambda epoch: (accuracies[epoch], epoch)) + 1
    assert record["selected_epoch"] == best
    assert record["metrics"]["val/accuracy"] == max(accuracies)
    assert RunDir.open(train(*SMALL, "trainer.select=last").dir).read()["selected_epoch"] == 3


def test_debug_is_one_batch_of_everything() -> None:
    record = RunDir.open(train("trainer=debug").dir).read()
    assert (record["steps"], record["steps_per_epoch"]) == (1, 1)


def test_a_diverging_run_says_so() -> None:
    with pytest.raises(UserError, match=r"the loss is not finite at step 5 .*try a smaller optimizer\.lr"):
        train("model=mlp", "optimizer.lr=1e30", "data.limit=200", "data.batch_size=40", "run_dir=diverged")
    record = RunDir.open("diverged").read()
    assert record["state"] == "failed"
    assert "not finite" in record["error"]


# Stopping and going on


@pytest.mark.parametrize("stop_at", [1, 4, 5, 7])
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_end(monkeypatch: pytest.MonkeyPatch, stop_at: int) -> None:
    overrides = [*CONV, "trainer.ema=0.9", "trainer.log_every=3"]
    whole = train(*overrides)
    step = Task._step

    def stopping(self: Task, number: int) -> None:
        step(self, number)
        if number + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "_step", stopping)
        with pytest.raises(Interrupted, match=f"stopped after step {stop_at} of 10; go on with: dlzoo run stopped"):
            train(*overrides, "run_dir=stopped")
    run = RunDir.open("stopped")
    assert run.read()["state"] == "interrupted"
    assert torch.load(run.last_checkpoint, weights_only=True)["task"]["clock"] == stop_at
    resumed = execution.execute(run)
    assert same(weights(resumed), weights(whole))
    assert resumed.metrics == whole.metrics

    def logged(path: Path) -> list[dict]:
        drop = {"time", "images_per_second"}
        return [{k: v for k, v in r.items() if k not in drop} for r in read_metrics(path / "metrics.jsonl")]

    assert logged(resumed.dir) == logged(whole.dir)
    assert execution.execute(run).metrics == whole.metrics  # finished: nothing is done again


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_test_is_an_interruption_and_nothing_is_logged_twice(
    monkeypatch: pytest.MonkeyPatch, number: int, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Task, "test_step", lambda *_: os.kill(os.getpid(), number))
        assert main(["train", *SMALL, "run_dir=run"]) == 130
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors == ["dlzoo: stopped; go on with: dlzoo run run"]
    run = RunDir.open("run")
    assert run.read()["state"] == "interrupted"
    with monkeypatch.context() as patch:  # and once more, after the test was logged
        patch.setattr(execution.pictures, "confusion", lambda *_: os.kill(os.getpid(), number))
        assert main(["run", "run"]) == 130
    assert main(["run", "run"]) == 0
    assert run.read()["state"] == "finished"
    tested = [record for record in read_metrics(run.metrics_file) if "test/accuracy" in record]
    assert len(tested) == 1


def test_ctrl_c_in_a_real_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dlzoo.cli", "train", "run_dir=run", "trainer.max_epochs=2000", "model.width=4"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while not (Path("run") / "checkpoints" / "last.ckpt").exists():
        assert time.time() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: dlzoo run run" in errors
    assert len(errors.strip().splitlines()) == 1
    assert RunDir.open("run").read()["state"] == "interrupted"


def test_a_reader_that_goes_away_does_not_end_the_training() -> None:
    command = f"{sys.executable} -m dlzoo.cli train run_dir=run {' '.join(SMALL)} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert RunDir.open("run").read()["state"] == "finished"


def interrupted(*overrides: str) -> RunDir:
    """A run that was stopped after its first epoch."""
    with pytest.MonkeyPatch.context() as patch:
        on_end = Task.on_validation_epoch_end

        def stop(self: Task) -> None:
            on_end(self)
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(Task, "on_validation_epoch_end", stop)
        with pytest.raises(Interrupted):
            train(*overrides, "run_dir=run")
    return RunDir.open("run")


def test_a_damaged_log_keeps_its_good_lines() -> None:
    run = interrupted(*SMALL)
    good = run.metrics_file.read_text()
    run.metrics_file.write_bytes(b"[1,2]\n\xff\xfe\n" + good.encode() + b'{"step": 5')
    execution.execute(run)
    assert run.metrics_file.read_text().startswith(good)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("edited", r"config\.yaml was edited since the run was made \(optimizer\.lr: 0\.1 -> 0\.2\)"),
        ("no last", r"last\.ckpt is gone"),
    ],
)
def test_a_run_goes_on_as_it_began_or_not_at_all(how: str, says: str) -> None:
    run = interrupted(*SMALL)
    if how == "edited":
        run.config_file.write_text(run.config_file.read_text().replace("lr: 0.1", "lr: 0.2"))
    else:
        run.last_checkpoint.unlink()
    before = run.metrics_file.read_text()
    with pytest.raises(UserError, match=says):
        execution.execute(run)
    assert run.metrics_file.read_text() == before


def test_eval_does_not_take_the_last_epoch_for_the_best() -> None:
    run = train(*SMALL)
    (run.dir / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(UserError, match=r"there is no best\.ckpt"):
        evaluate(str(run.dir))


def test_a_run_that_started_from_other_weights_goes_on_without_them(tmp_path: Path) -> None:
    first = train(*SMALL, "run_dir=first")
    run = interrupted(*SMALL, "init_from=first")
    shutil.rmtree(first.dir)
    execution.execute(run)
    assert run.read()["init_from"] == "first, head included"


def test_nothing_but_the_run_is_said(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", *SMALL, "data.val_fraction=0", "trainer.limit_batches=1", "run_dir=run"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "on 200 images" in captured.out
    assert main(["run", "run"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_names_that_look_like_formulas_are_drawn(tmp_path: Path, cache_home: Path) -> None:
    for name in ("a$b$c", "$\\frac$", "中文"):
        draw_pictures(tmp_path / "set" / name, 10)
    run = train("model=linear", "data=image_folder", f"data.root={tmp_path / 'set'}", "data.batch_size=8",
                "trainer.max_epochs=1", r"run_dir=d$\frac$x")  # fmt: skip
    assert RunDir.open(run.dir).read()["classes"] == ["$\\frac$", "a$b$c", "中文"]


def test_a_full_disk_keeps_the_checkpoint_before(monkeypatch: pytest.MonkeyPatch) -> None:
    replace, saved = os.replace, []

    def full(source: object, target: object) -> None:
        if str(target).endswith("last.ckpt"):
            saved.append(target)
            if len(saved) == 2:
                raise OSError(28, "No space left on device")
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"cannot write .*last\.ckpt.*No space left.*the checkpoint before it is whole"):
        train(*SMALL, "run_dir=full")
    run = RunDir.open("full")
    assert run.read()["state"] == "failed"
    assert torch.load(run.last_checkpoint, weights_only=True)["task"]["clock"] == 5
    assert not list((run.path / "checkpoints").glob("*.partial"))


# Using a run


def test_eval_measures_the_same_again_and_predict_names_classes(pictures: Path, capsys: pytest.CaptureFixture) -> None:
    knobs = ["model=mlp", "optimizer.lr=0.01", "data=image_folder", f"data.root={pictures}", "data.batch_size=8"]
    run = train(*knobs, "trainer.max_epochs=5")
    measured = evaluate(str(run.dir))
    assert measured == {key: value for key, value in run.metrics.items() if key.startswith("test/")}
    assert measured["test/accuracy"] == 1.0
    files = [str(pictures / "test" / name / "003.png") for name in ("dark", "light")]
    answers = predict(str(run.dir), files)
    assert [answer["classes"][0]["name"] for answer in answers] == ["dark", "light"]
    assert sum(found["probability"] for found in answers[0]["classes"]) == pytest.approx(1)
    assert main(["predict", f"run={run.dir}", *files]) == 0
    assert "dark/003.png: dark " in capsys.readouterr().out
    assert main(["eval", f"run={run.dir}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == measured


def test_eval_notices_that_the_data_changed(pictures: Path) -> None:
    run = train("model=linear", "data=image_folder", f"data.root={pictures}", "data.batch_size=8", "trainer=debug")
    (pictures / "test" / "dark" / "003.png").unlink()
    with pytest.raises(UserError, match="the data is not what the run was trained on"):
        evaluate(str(run.dir))


def test_fine_tuning_on_other_classes_with_a_frozen_backbone(pictures: Path) -> None:
    knobs = ["model=resnet20", "model.width=4", "data=image_folder", f"data.root={pictures}", "data.batch_size=8"]
    first = train(*knobs, "trainer.max_epochs=1")
    for part in ("train", "test"):
        (pictures / part / "dim").mkdir()
        for index in range(8):
            Image.new("RGB", (12, 12), (100, 100, 100)).save(pictures / part / "dim" / f"{index}.png")
    second = train(*knobs, f"init_from={first.dir}", "freeze=backbone", "trainer.max_epochs=2")
    best = torch.load(first.dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for key, value in weights(second).items():
        if key.startswith("network.head"):
            assert value.shape[0] == 3
        elif key.startswith("network."):
            assert torch.equal(value, best[key]), key  # running statistics too
    torch.save({key.removeprefix("network."): v for key, v in best.items() if key.startswith("network.")}, "w.pt")
    third = train(*knobs, "init_from=w.pt", "trainer.max_epochs=1")
    assert third.metrics["test/accuracy"] >= 0


def test_weights_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    first = train(*SMALL, "trainer=debug")
    for wrong, says in [
        (f"{first.dir} model.hidden=[16,16]", "weights of another model"),
        (f"{first.dir} model.hidden=[17]", "weights of another model"),
        ("absent.pt", "cannot be read as weights"),
        ("/etc/hostname", "damaged, or no file of weights"),
        (f"{tmp_path}", "is not a run directory"),
    ]:
        origin, *more = wrong.split(" ")
        with pytest.raises(UserError, match=says):
            train(*SMALL, f"init_from={origin}", *more)


def test_a_checkpoint_of_another_model_in_a_run_is_one_line() -> None:
    first, second = train(*SMALL, "run_dir=first"), train(*SMALL, "model.hidden=[8]", "run_dir=second")
    for name in ("best.ckpt", "last.ckpt"):
        (first.dir / "checkpoints" / name).write_bytes((second.dir / "checkpoints" / name).read_bytes())
    with pytest.raises(UserError, match=r"best\.ckpt: weights of another model"):
        evaluate("first")
    run = RunDir.open("first")
    run.update(state="interrupted")
    with pytest.raises(UserError, match=r"last\.ckpt: weights of another model"):
        execution.execute(run)
    run.last_checkpoint.write_bytes(b"half")
    with pytest.raises(UserError, match=r"last\.ckpt: not a whole checkpoint"):
        execution.execute(run)


def test_a_stranger_s_pickle_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"state_dict": Evil()}, "evil.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        train(*SMALL, "init_from=evil.pt")
    assert not (tmp_path / "owned").exists()


# Wrong combinations, before training starts


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.batch_size=5000"], "larger than the 1295 training images"),
        (["trainer.accumulate=3"], "does not divide into trainer.accumulate=3"),
        (["model=mlp", "norm=in"], "cannot train on .*one pixel.* norm=gn"),
        (["model=resnet18", "norm=in"], "cannot train on .*one pixel.* norm=gn"),
        (["model=resnet18", "data.batch_size=1"], "cannot train on 1 image.* larger data.batch_size,.* norm=gn"),
        (["trainer.early_stopping=2", "data.val_fraction=0"], "needs a validation split"),
        (["data.val_fraction=1"], "leaves 0 to train on"),
        (["model=linear", "freeze=backbone"], "the model is all head"),
        (["optimizer.nesterov=true", "optimizer.momentum=0"], "needs optimizer.momentum > 0"),
        (["init.zero_last_norm=true", "norm=none"], "needs a norm with a scale"),
        (["loss.class_weights=[1,2]"], "class_weights"),
    ]
    + ([] if torch.cuda.is_available() else [(["trainer=gpu"], "torch sees no GPU here")]),
)
def test_what_does_not_fit_is_refused_before_training(
    overrides: list[str], says: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", "run_dir=run", *overrides]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert re.search(says, captured.err), captured.err
    assert RunDir.open("run").read()["state"] == "failed"


def test_a_start_that_fails_leaves_no_folder_of_its_own(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "data=cifar10"]) == 2
    assert "data=cifar10: no whole copy in 'data'; say data.download=true" in capsys.readouterr().err
    assert list(Path("outputs").iterdir()) == []


def test_an_error_never_removes_a_run_that_was_there_before() -> None:
    run = RunDir.create(Path("outputs") / "mine", compose(["data=cifar10"]))
    with pytest.raises(UserError, match="no whole copy"):
        execution.execute(run)
    assert run.read()["state"] == "failed"
    assert run.config_file.exists()


@pytest.mark.parametrize("norm", ["bn", "gn", "ln", "in"])
def test_every_norm_learns_with_the_defaults(norm: str) -> None:
    """Not only bn: an initialisation or a rate that suits it alone would decide every comparison."""
    assert train(f"norm={norm}", "trainer.max_epochs=5", "model.width=8").metrics["test/accuracy"] > 0.6


def test_ranges_never_cross_an_epoch_a_log_step_a_checkpoint_or_the_end() -> None:
    plan = Plan(epochs=3, steps_per_epoch=17, log_every=5, checkpoint_every=7)
    for start in range(plan.steps):
        ranges = list(plan.ranges(start))
        steps = [step for steps in ranges for step in steps]
        assert steps == list(range(start, (start // 17 + 1) * 17))
        for steps in ranges:
            for step in steps[:-1]:
                assert (step + 1) % 5
                assert (step + 1) % 7
                assert (step + 1) % 17
