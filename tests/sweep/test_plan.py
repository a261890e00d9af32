"""From a line with several values to checked runs and their addresses; tables and differences of runs."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.config.executor import LocalSettings, parse_executor
from dlzoo.core.errors import UserError
from dlzoo.runs import table
from dlzoo.runs.run_dir import RunDir
from dlzoo.show.diff import diff, text
from dlzoo.sweep.address import address
from dlzoo.sweep.check import existing_states
from dlzoo.sweep.executors.local import LocalExecutor
from dlzoo.sweep.plan import plan
from dlzoo.sweep.preflight import refuse_infeasible
from dlzoo.sweep.request import SweepRequest
from dlzoo.sweep.sweep import sweep
from tests.small import SMALL, train


def addresses(*words: str) -> list[str]:
    return [run.path.name for run in plan(SweepRequest(words)).runs]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["norm=bn,gn"], ["norm=bn", "norm=gn"]),
        (["seed=range(3)"], ["seed=0", "seed=1", "seed=2"]),
        (["norm=choice(bn,gn)", "seed=7"], ["norm=bn,seed=7", "norm=gn,seed=7"]),
        (["model=glob(resnet1*)"], ["model=resnet101", "model=resnet110", "model=resnet152", "model=resnet18"]),
        (["optimizer.lr=0.10,1e-1,0.2"], ["optimizer.lr=0.1", "optimizer.lr=0.2"]),
        (["model=mlp", "model.hidden=[16],[16,32]"], ["model=mlp,model.hidden=16", "model=mlp,model.hidden=16+32"]),
        (["trainer=cpu,ddp_cpu"], ["trainer=cpu", "trainer=ddp_cpu"]),
        (["trainer.ema=null,0.9"], ["trainer.ema=null", "trainer.ema=0.9"]),
        ([], ["defaults"]),
    ],
)
def test_a_line_stands_for_its_runs(words: list[str], expected: list[str]) -> None:
    assert addresses(*words) == expected


def test_an_address_does_not_depend_on_order_or_spelling_and_is_safe() -> None:
    def of(*words: str) -> str:
        return address(words, compose(words))

    assert of("norm=gn", "seed=3", "optimizer.lr=1e-1") == of("optimizer.lr=0.1", "seed=3", "norm=gn", "name=x")
    odd = [of("data=image_folder", f"data.root={root}") for root in ("/a/b c", "/a/b-c", "~/é" + 300 * "x")]
    assert len(set(odd)) == 3
    assert all(len(name) < 200 and "/" not in name and name.isascii() for name in odd)


def test_early_runs_can_be_compared_every_arm_gets_a_seed_before_one_gets_two() -> None:
    runs = plan(SweepRequest(["seed=range(3)", "norm=bn,gn"])).runs
    assert [(run.config["seed"], run.config["norm"]["name"]) for run in runs] == [
        *((0, "bn"), (0, "gn"), (1, "bn"), (1, "gn"), (2, "bn"), (2, "gn"))
    ]


def test_a_sweep_without_a_name_takes_one_and_lies_where_it_is_told() -> None:
    assert plan(SweepRequest(["norm=bn,gn", "data.batch_size=2,8"])).folder == Path("outputs/sweep-batch_size-norm")
    assert plan(SweepRequest(["norm=bn,gn", "name=mine"])).folder == Path("outputs/mine")
    there = plan(SweepRequest(["norm=bn,gn", "name=mine", "sweep.dir=there"]))
    assert (there.folder, there.name) == (Path("there"), "mine")
    assert {run.config["name"] for run in there.runs} == {"mine"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("norm=bn,gm", "unknown norm 'gm'"),
        ("optimizer.lr=0.1,abc", "optimizer.lr must be a number"),
        ("model=resnet20,linear norm=gn", "model=linear does not support norm=gn.*in the run model=linear norm=gn"),
        ("optimizer.lr=interval(0.1,1)", "is continuous; use dlzoo tune"),
        ("model=glob(nothing*)", "is an empty range or matches no name"),
        ("name=a,b", "name has several values"),
        ("run_dir=x norm=bn,gn", "set sweep.dir=PATH for a sweep"),
        ("sweep.dri=x", "unknown key 'sweep.dri'"),
        ("executor=locl", "unknown executor 'locl'; did you mean executor=local"),
        ("executor.partition=x", "executor=local has no such setting"),
        ("executor=local,ray", "a sweep has one executor"),
        ("seed=range(1,2,0)", "cannot list the values"),
        ("seed=range(3),7", "type each value, or one range"),
        ("seed=range(1000000000)", "more values than a sweep may have runs"),
        ("seed=range(1000) data.batch_size=range(1,1001)", "a sweep of 1,000,000 runs is larger"),
        ("name=.. seed=0,1", "cannot be a folder in outputs/"),
        ("name=/tmp/x seed=0,1", "cannot be a folder in outputs/"),
        (f"name={300 * 'x'} seed=0,1", "cannot be a folder"),
        ("sweep.dir=/dev/null seed=0,1", "it is not a folder"),
        ("executor=slurm executor.minutes=-1", "executor.minutes must be an integer"),
    ],
)
def test_a_mistake_in_a_sweep_is_one_line_and_leaves_nothing(
    line: str, said: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(UserError, match=said):
        sweep(SweepRequest(line.split()), Console())
    assert main(["train", "-m", *line.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("data.batch_size=64,30 trainer.accumulate=4", "does not divide into trainer.accumulate=4"),
        ("data.batch_size=64,100000", "larger than the 1295 training samples"),
        ("trainer.nodes=2", "trainer.nodes=2 needs executor=slurm"),
        ("trainer.devices=999 trainer=cpu", "too many processes"),
    ],
)
def test_a_run_that_cannot_be_is_reported_before_the_first_starts(line: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        sweep(SweepRequest(["name=bad", *line.split()]), Console())
    assert not Path("outputs").exists()


def test_one_run_is_told_from_several() -> None:
    with pytest.raises(UserError, match="add -m for a sweep"):
        compose(["norm=bn,gn"])
    with pytest.raises(UserError, match="is a setting of a sweep: add -m"):
        compose(["executor=slurm"])


def test_an_address_with_other_settings_is_refused_with_the_difference() -> None:
    folder = Path("outputs/mine")
    RunDir.create(folder / "seed=0", compose(["seed=0", "data.batch_size=8", "name=other"]))
    with pytest.raises(UserError, match=r"other settings \(data.batch_size=8 there, 64 here\)"):
        existing_states(plan(SweepRequest(["name=mine", "seed=0,1"])).runs)
    (folder / "seed=1").mkdir()
    (folder / "seed=1" / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="seed=1 is not a run directory"):
        existing_states(plan(SweepRequest(["name=mine", "seed=1,2"])).runs)


def test_checking_a_wide_sweep_looks_at_each_kind_of_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("dlzoo.sweep.preflight.run_recipe", lambda config, data: seen.append(config["optimizer"]["lr"]))
    refuse_infeasible(plan(SweepRequest([*SMALL, "optimizer.lr=0.1,0.2,0.3", "seed=range(50)"])).runs)
    assert sorted(seen) == [0.1, 0.2, 0.3]


def test_a_dry_run_says_what_would_happen_and_does_nothing(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "-m", *SMALL, "name=dry", "seed=range(3)", "sweep.dry_run=true"]) == 0
    said = capsys.readouterr().out
    assert said.count("\nnew ") == 3
    assert "3 to run: about" in said
    assert not Path("outputs").exists()


def test_cores_and_places_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlzoo.sweep.executors.local.available_cores", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("os.sysconf", lambda name: 2**32)
    config = compose(SMALL)

    def shared(runs: int, **settings: int) -> tuple[int, int]:
        executor = LocalExecutor(LocalSettings(**settings), [config] * runs)  # type: ignore[arg-type]
        return executor.workers, executor.threads

    assert shared(100) == (8, 1)
    assert shared(2) == (2, 4)
    assert shared(100, threads=3) == (2, 3)
    assert shared(100, workers=3) == (3, 2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    config = compose(["trainer=auto"])
    assert shared(100) == (2, 4)
    assert shared(100, runs_per_gpu=2) == (4, 2)


def test_executors_are_files_and_settings() -> None:
    assert parse_executor([]) == ("local", LocalSettings())
    kind, settings = parse_executor(["executor=slurm", "executor.partition=gpu", "executor.setup=[module load x]"])
    assert (kind, settings.partition, settings.setup) == ("slurm", "gpu", ("module load x",))  # type: ignore[union-attr]
    assert main(["list", "executor"]) == 0
    assert main(["show", "executor", "slurm"]) == 0


def _runs() -> list[Path]:
    folder = Path("outputs/some")
    for norm in ("bn", "gn"):
        for seed in (0, 1):
            train(*SMALL, f"norm={norm}", f"seed={seed}", f"run_dir={folder}/{norm}{seed}")
    RunDir.create(folder / "new", compose([*SMALL, "norm=gn", "seed=2"]))
    (folder / "bad").mkdir()
    (folder / "bad" / "run.json").write_text("{")
    (folder / "bad" / "config.yaml").write_text("")
    return table.find(folder)


def test_the_table_of_runs_shows_state_result_and_what_differs(capsys: pytest.CaptureFixture) -> None:
    paths = _runs()
    assert [path.name for path in paths] == ["bad", "bn0", "bn1", "gn0", "gn1", "new"]
    shown = [str(line) for line in table.lines(table.rows(paths), Path("outputs/some"), 200)]
    assert shown[0].split() == ["state", "done", "result", "age", "norm", "seed", "run"]
    assert shown[1].startswith("damaged")
    record = json.loads((paths[1] / "run.json").read_text())
    assert shown[3].split()[:4] == ["finished", "100%", "test", f"{record['metrics']['test/accuracy']:.4f}"]
    assert shown[3].split()[-3:] == ["bn", "0", "bn0"]
    assert shown[-1].split()[0] == "waiting"
    assert main(["runs"]) == 0
    assert "6 runs: 4 finished, 1 waiting, 1 damaged" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6
    assert main(["runs", "nowhere"]) == 2


def test_runs_that_go_on_are_shown_with_how_far_they_are() -> None:
    run = train(*SMALL).dir
    row = table.Row.of(run)
    assert row.steps == (15, 15)
    with RunDir(run).lock():
        RunDir(run).update(state="running", metrics={})
        row = table.Row.of(run)
        assert (row.state, row.steps) == ("running", (15, 15))
        assert row.metric.startswith("val 0.")
    assert table.Row.of(run).state == "interrupted"


def test_diff_names_the_one_setting_and_nothing_else() -> None:
    _runs()
    one = diff("outputs/some/bn0", "outputs/some/gn0")
    assert one["settings"] == {"norm": ["bn", "gn"]}
    assert one["circumstances"] == {}
    assert text(one).startswith("these runs differ in exactly one setting: norm\n  norm  bn -> gn")
    assert text(diff("outputs/some/bn0", "outputs/some/bn0")) == "these runs do not differ in any setting"
    two = diff("outputs/some/bn0", "outputs/some/gn1")
    assert list(two["settings"]) == ["norm", "seed"]
    RunDir.create(Path("outputs/adam"), compose([*SMALL, "optimizer=adam"]))
    RunDir.create(Path("outputs/sgd"), compose([*SMALL, "optimizer=sgd"]))
    brought = diff("outputs/sgd", "outputs/adam")
    assert brought["settings"] == {"optimizer": ["sgd", "adam"]}
    assert brought["brought"] == {"optimizer.lr": [0.1, 0.001], "optimizer.weight_decay": [0.0005, 0.0]}
    RunDir.create(Path("outputs/groups"), compose([*SMALL, "optimizer=sgd", "norm=gn", "norm.num_groups=4"]))
    assert diff("outputs/sgd", "outputs/groups")["settings"] == {"norm": ["none", "gn"], "norm.num_groups": [None, 4]}


def test_diff_sees_other_data() -> None:
    first, second = train(*SMALL), train(*SMALL, "data.limit=100")
    found = diff(str(first.dir), str(second.dir))
    assert list(found["settings"]) == ["data.limit"]
    assert list(found["circumstances"]) == ["data"]


def test_what_is_no_fair_comparison_is_said_and_strict_refuses_it(capsys):
    words = [*SMALL, "norm=bn,gn", "data.batch_size=20,40", "seed=0", "sweep.dry_run=true"]
    sweep(SweepRequest(words), Console())
    assert "note" in (said := capsys.readouterr().out) and "lr_reference_batch" in said
    with pytest.raises(UserError, match=r"sweep\.strict=true: .*lr_reference_batch"):
        sweep(SweepRequest([*words, "sweep.strict=true"]), Console())
    sweep(SweepRequest([*words, "optimizer.lr_reference_batch=128", "sweep.strict=true"]), Console())
    assert "note" not in capsys.readouterr().out


def test_a_baseline_that_no_run_has_is_refused_before_the_first_starts():
    with pytest.raises(UserError, match="norm=ln"):
        sweep(SweepRequest([*SMALL, "norm=bn,gn", "name=x"], baseline=["norm=ln"]), Console())
    assert not Path("outputs").exists()
