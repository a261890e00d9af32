"""From a line with several values to checked runs and their addresses; tables and differences of runs."""

import json
import re
import shlex
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
from dlzoo.sweep.address import address, earlier_address, words_of
from dlzoo.sweep.check import existing_states
from dlzoo.sweep.common import refuse_other_common
from dlzoo.sweep.executors.local import LocalExecutor
from dlzoo.sweep.plan import PlannedRun, plan
from dlzoo.sweep.preflight import refuse_infeasible
from dlzoo.sweep.request import SweepRequest
from dlzoo.sweep.scheduler import create
from dlzoo.sweep.sweep import sweep, write_request
from tests.small import SMALL, last_of_each, train


def addresses(*words: str) -> list[str]:
    return [run.path.name for run in plan(SweepRequest(words)).runs]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["norm=bn,gn"], ["norm=bn", "norm=gn"]),
        (["seed=range(3)"], ["seed=0", "seed=1", "seed=2"]),
        (["norm=choice(bn,gn)", "seed=7"], ["norm=bn,seed=7", "norm=gn,seed=7"]),
        (["model=glob(resnet1*)"], ["model=resnet101", "model=resnet110", "model=resnet152", "model=resnet18"]),
        (["optimizer.lr=0.10,1e-1,0.2"], ["lr=0.1", "lr=0.2"]),
        (["model=mlp", "model.hidden=[16],[16,32]"], ["hidden=16", "hidden=16+32"]),
        (["trainer=cpu,ddp_cpu"], ["trainer=cpu", "trainer=ddp_cpu"]),
        (["trainer.ema=null,0.9"], ["ema=null", "ema=0.9"]),
        (
            ["data.batch_size=8,16", "seed=1", "norm=gn,ln"],
            [f"norm={norm},batch_size={size},seed=1" for size in (8, 16) for norm in ("gn", "ln")],
        ),
        (["model=resnet20", "model.width=8,16"], ["width=8", "width=16"]),
        (["data.split_seed=0,1", "seed=3"], ["split_seed=0,seed=3", "split_seed=1,seed=3"]),
        (["norm=gn", "model=resnet20"], ["norm=gn,model=resnet20"]),
        (["norm=gn", "model=resnet20", "seed=4"], ["seed=4"]),
        ([], ["defaults"]),
    ],
)
def test_a_line_stands_for_its_runs(words: list[str], expected: list[str]) -> None:
    assert addresses(*words) == expected


def test_an_address_does_not_depend_on_order_or_spelling_and_is_safe() -> None:
    def of(*words: str) -> str:
        return address(words_of(words, compose(words)), ["norm", "optimizer.lr", "data.root"])

    assert of("norm=gn", "seed=3", "optimizer.lr=1e-1") == of("optimizer.lr=0.1", "seed=3", "norm=gn", "name=x")
    assert address({"a.width": "1", "b.width": "2", "c.norm": "3", "d": "4"}, ["a.width", "b.width", "c.norm"]) == (
        "a.width=1,b.width=2,c.norm=3"
    )
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


def old_runs(folder: Path, *words: str) -> list[Path]:
    """Runs with the names that version 0.1 gave."""
    paths = []
    for run in plan(SweepRequest([*words, f"sweep.dir={folder}"])).runs:
        path = folder / earlier_address(words_of(run.overrides, run.config))
        paths.append(RunDir.create(path, run.config).path)
    return paths


def test_runs_of_an_older_naming_are_found() -> None:
    words = [*SMALL, "norm=bn,ln", "name=x"]
    old = old_runs(Path("there"), *words, "seed=0,1")
    assert old[0].name.startswith("data.batch_size=40,data.limit=200,model=mlp,")
    found = plan(SweepRequest([*words, "seed=range(3)", "sweep.dir=there"])).runs
    assert [run.path for run in found[:4]] == old
    assert [run.path.name for run in found[4:]] == ["norm=bn,seed=2", "norm=ln,seed=2"]
    assert len(existing_states(found)) == 4
    (again,) = plan(SweepRequest([*words[:-2], "norm=ln", "name=x", "seed=1", "sweep.dir=there"])).runs
    assert again.path == old[-1]  # whatever varies
    with pytest.raises(UserError, match=r"other settings \(trainer.max_epochs=3 there, 4 here\)"):
        RunDir(old[0]).state_file.write_text("{")  # damaged: found by its name only
        config = compose([*last_of_each([*words[:-2], "norm=ln", "seed=1"])])
        existing_states([PlannedRun([], config | {"trainer": config["trainer"] | {"max_epochs": 4}}, old[-1])])


def ask(*words: str, common: list[str] | None = None) -> None:
    """What a sweep does before its first run, and its first run."""
    request = SweepRequest(list(words), ["python", "train.py", "-m", *words], common=common or [])
    planned = plan(request)
    refuse_other_common(request, planned)
    write_request(request, planned)
    create(planned.runs[:1])


@pytest.mark.parametrize(
    "later",
    [
        ["data.limit=50", "norm=bn,gn", "seed=range(4)"],
        ["data.limit=50", "norm=ln", "seed=7"],
        ["data.limit=50", "data.batch_size=64", "seed=7"],  # the default, said
        ["data.limit=50", "seed=7", "trainer=auto"],
        ["data.limit=50,60", "norm=bn"],  # it varies now, with the old value
        ["norm=bn", "data.limit=50", "hooks=[csv]"],
    ],
)
def test_a_sweep_may_get_more_values_and_seeds(later: list[str]) -> None:
    ask("name=x", "data.limit=50", "norm=bn,gn", "seed=0")
    before = Path("outputs/x/sweep.json").read_text()
    assert json.loads(before)["common"] == ["data.limit=50"]
    assert not Path("outputs/x/sweep_log.jsonl").exists()
    ask("name=x", *later)
    assert Path("outputs/x/sweep.json").read_text() == before
    (line,) = Path("outputs/x/sweep_log.jsonl").read_text().splitlines()
    assert json.loads(line)["lines"] == [f"python train.py -m name=x {shlex.join(later)}"]
    ask("name=x", *later)
    assert len(Path("outputs/x/sweep_log.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (["data.limit=60"], "(data.limit=50 there, 60 here); set name=x_3"),
        (["norm=bn"], "(data.limit=50 there, null here)"),
        (["data.limit=50", "optimizer.lr=0.3"], "(optimizer.lr=0.1 there, 0.3 here)"),
        (["data.limit=60,70"], "(data.limit=50 there, not here)"),
        (["data.limit=50", "model=linear"], "(model=resnet20 there, linear here"),
        (["data=wine", "data.limit=50"], "(data=digits there, wine here"),
    ],
)
def test_a_sweep_of_that_name_with_other_common_settings_is_refused(later: list[str], says: str) -> None:
    Path("outputs/x_2").mkdir(parents=True)
    ask("name=x", "data.limit=50", "norm=bn,gn", "seed=0")
    before = {path: path.read_text() for path in Path("outputs/x").iterdir() if path.is_file()}
    with pytest.raises(UserError, match=re.escape(says)):
        ask("name=x", *later)
    assert {path: path.read_text() for path in Path("outputs/x").iterdir() if path.is_file()} == before


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
