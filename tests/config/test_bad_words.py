"""Words that no command can read: one line on stderr, exit code 2, and nothing on disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dlzoo.cli import main
from dlzoo.config import compose, searching
from dlzoo.config.overrides import expand
from dlzoo.core.errors import UserError
from dlzoo.sweep.plan import plan
from dlzoo.sweep.request import parse_comparison, parse_sweep

HEAD = "# @package _global_\n"
#: Experiments of one's own: name -> its file.
FILES: dict[str, bytes | str] = {
    "no_head": "trainer: {max_epochs: 3}\n",
    "late_head": "# My question.\n" + HEAD,
    "other_head": "# @package trainer\nmax_epochs: 3\n",
    "empty": "",
    "latin": HEAD.encode() + b"# \xfcber\ntrainer: {max_epochs: 3}\n",
    "utf16": (HEAD + "seed: 1\n").encode("utf-16"),
    "tab": HEAD + "trainer:\n\tmax_epochs: 3\n",
    "bracket": HEAD + "trainer: {max_epochs: 3\n",
    "colon": HEAD + "trainer: max_epochs: 3\n",
    "deep": HEAD + "a: " + "[" * 3000 + "]" * 3000 + "\n",
    "deep_map": HEAD + "a: " + "{a: " * 3000 + "1" + "}" * 3000 + "\n",
    "nul": HEAD + "name: a\0b\n",
    "digits": HEAD + "seed: " + "9" * 5000 + "\n",
    "date": HEAD + "name: 2024-13-45\n",
    "twice": HEAD + "seed: 1\nseed: 2\n",
    "alias": HEAD + "a: *b\n",
    "list": HEAD + "- 1\n",
    "number": HEAD + "5\n",
    "cycle": HEAD + "a: &a [*a]\n",
    "loop": HEAD + "defaults: [loop]\n",
    "there": HEAD + "defaults: [back]\n",
    "back": HEAD + "defaults: [/experiment: there]\n",
    "absent": HEAD + "defaults: [nothing]\n",
    "odd_defaults": HEAD + "defaults: 5\n",
    "includes_no_head": HEAD + "defaults: [no_head]\n",
    "unquoted": HEAD + "name: 2024\n",
    "width": HEAD + "model: {width: 8}\n",
    "unknown_key": HEAD + "lerning_rate: 3\n",
    "unknown_name": HEAD + "defaults:\n  - override /norm: gm\n",
    "no_norm": HEAD + "defaults:\n  - override /norm: gn\n",
    "value": HEAD + "trainer: {max_epochs: many}\n",
    "nope": HEAD + "seed: ${nope}\n",
    "nope_rate": HEAD + "optimizer:\n  lr: ${data.nope}\n",
    "nope_itself": HEAD + "seed: ${seed}\n",
    "nope_variable": HEAD + "name: ${oc.env:DLZOO_NOPE}\n",
    "nope_open": HEAD + "seed: ${nope\n",
    "includes_nope": HEAD + "defaults: [nope]\n",
    "vary": HEAD + "comparison:\n  vary: {norm: [bn, gn]}\n  scale: {tiny: [model.width=8]}\n",
}

NINES, LONG, DEEP = "9" * 5000, "a" * 5000, "[" * 3000
#: Words of `dlzoo train` -> what the line says.
TRAIN = {
    # Hydra's grammar
    "seed=range(3": "a bracket is not closed",
    "name=range(3": "to use it as text, type 'name=\"range(3\"'",
    "data.missing=[1": "a bracket is not closed",
    "data.missing=[1,,2]": "between commas is empty",
    "name={a": "a bracket is not closed",
    "name={a}": "cannot read",
    "optimizer.lr=logspace(1,2)": "Unknown function 'logspace'; Available: bool,choice",
    "name=x(1)": "Unknown function 'x'",
    "seed=range()": "missing a required argument",
    "seed=range(1,2,3,4)": "too many positional arguments",
    "seed=range(a)": "str is incompatible",
    "seed=choice()": "empty choice",
    "seed=int(x)": "invalid literal",
    "seed=glob(3)": "int is incompatible",
    "seed=tag(3)": "incompatible",
    "norm=bn,gn,": "between commas is empty",
    "norm=,bn": "between commas is empty",
    "norm=bn,,gn": "between commas is empty",
    'name="abc': "cannot read",
    "name='abc": "cannot read",
    "name='a' b": "cannot read",
    "a b=3": "cannot read",
    "seed..x=3": "cannot read",
    "/=3": "cannot read",
    "norm=bn,gn": "add -m",
    "seed=range(3)": "add -m",
    "=": "key=value",
    "=3": "key=value",
    "seed": "type key=value",
    "~seed": "cannot be removed",
    "~seed=3": "cannot be removed",
    "optimizer@x=adam": "type optimizer=...",
    "optimizer@=adam": "",
    "seed@x=3": "type seed=...",
    "norm@model:x=gn": "",
    "hydra.run.dir=x": "Hydra's own settings",
    "hydra/launcher=x": "",
    # empty and wrong values
    "seed=": "must be an integer",
    "run_dir=": "must be a word",
    "model=": "unknown model",
    "model=null": "",
    "model=[linear]": "unknown model",
    "model={a:1}": "unknown model",
    "trainer={max_epochs:3}": "unknown trainer",
    "model=true": "unknown model",
    "experiment=": "unknown experiment",
    "experiment=3": "unknown experiment",
    "experiment=nothing": "unknown experiment",
    "experiment=./nothing.yaml": "no such file",
    "experiment=nothing.yml": "no such file",
    "experiment=/": "no such file",
    "experiment=/dev/null/x.yaml": "no such file",
    "seed=1.5": "must be an integer",
    "seed=true": "must be an integer",
    "seed=null": "must be an integer",
    "seed='1'": "must be an integer",
    "seed=[1]": "must be an integer",
    "seed={a:1}": "",
    "seed=${nothing}": "nothing",
    "seed=${": "",
    "seed=${seed}": "",
    "name=${oc.env:DLZOO_NOTHING}": "",
    "optimizer.lr=nan": "must be a number",
    "optimizer.lr=inf": "must be a number",
    "optimizer.lr=1e999": "must be a number",
    "optimizer.lr=-0.1": "must be a number",
    "data.test_shift=[1e5]": "",
    # twice
    "seed=1 seed=2": "sets seed twice: seed=1 and seed=2",
    "seed=1 seed=1": "sets seed twice",
    "seed=1 +seed=2": "sets seed twice: seed=1 and +seed=2",
    "model=linear model=mlp": "sets model twice: model=linear and model=mlp",
    "trainer=cpu trainer=gpu": "sets trainer twice",
    "optimizer.lr=1 norm=gn optimizer.lr=0.1": "sets optimizer.lr twice: optimizer.lr=1 and optimizer.lr=0.1",
    "resume=a resume=b": "",
    # size
    f"seed={NINES}": "4300 digits",
    f"seed=-{NINES}": "4300 digits",
    f"seed={NINES[:4000]}": "4,000 characters",
    f"optimizer.lr={NINES[:4000]}": "must be a number",
    f"data.missing=[{NINES}]": "4300 digits",
    f"name={LONG}": "5,002 characters",
    f"run_dir={LONG}": "5,002 characters",
    f"run_dir={'a/' * 2500}x": "must be a word",
    f"init_from={LONG}": "must be a word",
    f"data=csv data.path={LONG} data.target=a": "data.path must be a word",
    f"data=image_folder data.root={LONG}": "data.root must be a word",
    f"data=csv data.path={LONG[:300]} data.target=a": "",
    f"data=csv data.path={LONG[:4000]} data.target=a": "",
    f"data=image_folder data.root={LONG[:300]}": "",
    f"run_dir={LONG[:300]} model=linear": "",
    f"init_from={LONG[:300]} model=linear": "",
    f"experiment={LONG}": "unknown experiment",
    f"experiment=./{LONG}": "no such file",
    f"model={LONG}": "unknown model",
    f"{LONG}=3": "unknown key",
    f"{'a.' * 2000}a=3": "unknown key",
    f"name={DEEP}": "more than 20 deep",
    f"name={DEEP}{']' * 3000}": "more than 20 deep",
    f"name={'(' * 3000}": "more than 20 deep",
    f"name={'{a:' * 3000}": "more than 20 deep",
    f"seed={'choice(' * 2000}1{')' * 2000}": "more than 20 deep",
    f"name={'x' * 30000}": "30,005 characters",
    f"seed={'1,' * 15000}1": "30,006 characters",
    # no text
    "name=a\0b": "not UTF-8, or contains NUL",
    "run_dir=a\0b": "not UTF-8, or contains NUL",
    "model=\0": "not UTF-8, or contains NUL",
    "\0=3": "not UTF-8, or contains NUL",
    "experiment=./a\0.yaml": "not UTF-8, or contains NUL",
    "name=\udcff": "not UTF-8",
    "run_dir=a/\udcff": "not UTF-8",
    "data=csv data.path=\udcff data.target=a": "not UTF-8",
    "experiment=./\udce9.yaml": "not UTF-8",
    "model=\udcff": "not UTF-8",
    "\udcff=3": "not UTF-8",
    # files
    "experiment=no_head": 'no_head.yaml: its first line must be "# @package _global_"',
    "experiment=late_head": 'its first line must be "# @package _global_"',
    "experiment=other_head": 'its first line must be "# @package _global_"',
    "experiment=empty": 'its first line must be "# @package _global_"',
    "experiment=includes_no_head": 'no_head.yaml: its first line must be "# @package _global_"',
    "experiment=latin": "latin.yaml: not UTF-8 text (line 2)",
    "experiment=utf16": "utf16.yaml: not UTF-8 text (line 1)",
    "experiment=tab": "tab.yaml: not valid YAML (line 3: found character '\\t'",
    "experiment=bracket": "bracket.yaml: not valid YAML (line 3",
    "experiment=colon": "colon.yaml: not valid YAML (line 2",
    "experiment=deep": "deep.yaml: not valid YAML (nested too deeply)",
    "experiment=deep_map": "deep_map.yaml: not valid YAML (nested too deeply)",
    "experiment=nul": "nul.yaml: not valid YAML",
    "experiment=digits": "digits.yaml: not valid YAML",
    "experiment=date": "date.yaml: not valid YAML",
    "experiment=alias": "alias.yaml: not valid YAML (line 2: found undefined alias",
    "experiment=twice": "",
    "experiment=list": "",
    "experiment=number": "",
    "experiment=cycle": "",
    "experiment=loop": "loop.yaml: experiments include each other in a circle: loop -> loop",
    "experiment=there": "in a circle: there -> back -> there",
    "experiment=absent": "nothing",
    "experiment=odd_defaults": "",
    "experiment=unquoted": 'unquoted.yaml: name must be a word or null, not 2024; write it in quotes: "2024"',
    "experiment=width model=linear": "width.yaml: unknown key 'model.width': model=linear has no such setting",
    "experiment=unknown_key": "unknown_key.yaml: unknown key 'lerning_rate'",
    "experiment=unknown_name": "gm",
    "experiment=nope": "nope.yaml: seed: Interpolation key 'nope' not found",
    "experiment=includes_nope": "/nope.yaml: seed: Interpolation key 'nope' not found",
    "experiment=nope_rate": "nope_rate.yaml: optimizer.lr: Interpolation key 'data.nope' not found",
    "experiment=nope_itself": "nope_itself.yaml: seed: Recursive interpolation detected",
    "experiment=nope_variable": "nope_variable.yaml: name: KeyError raised",
    "experiment=nope_open": "experiment=nope_open: ",
    "experiment=nope optimizer.lr=${nopes}": "nope",
    "seed=${nope}": "dlzoo: seed: Interpolation key 'nope' not found",
    "experiment=no_norm model=linear": "no_norm.yaml: model=linear does not support norm=gn",
    "experiment=value": "value.yaml: trainer.max_epochs must be an integer",
    "experiment=vary model=linear scale=tiny": "vary.yaml: unknown key 'model.width'",
    "experiment=vary experiment=vary": "give only one experiment",
    "experiment=vary scale=tiny scale=tiny": "scale is set twice",
    "experiment=mine/tab.yaml": "tab.yaml: not valid YAML (line 3",
    "experiment=./mine/no_head.yaml": "its first line must be",
    "experiment=mine/latin.yaml": "not UTF-8 text (line 2)",
    "experiment=mine/loop.yaml": "",
    "experiment=mine/width.yaml model=linear": "width.yaml: unknown key 'model.width'",
}
#: Words of a sweep -> what the line says.
SWEEP = {
    "seed=range(nan)": "cannot list the values",
    "seed=range(inf)": "cannot list the values",
    "seed=range(0,1,nan)": "cannot list the values",
    "seed=range(0,1e12)": "more values than a sweep may have runs",
    "seed=range(1e9)": "more values than a sweep may have runs",
    "seed=range(1000000000)": "more values than a sweep may have runs",
    "seed=shuffle(range(1000000000))": "more values than a sweep may have runs",
    "seed=sort(range(1000000000),reverse=true)": "",
    "optimizer.lr=range(0,1,1e-300)": "more values than a sweep may have runs",
    f"seed=range({NINES[:400]})": "",
    f"seed=range({NINES})": "4300 digits",
    "seed=range(3,1)": "is an empty range",
    "seed=range(1,3,0)": "cannot list the values",
    "seed=range(3),7": "type each value, or one range",
    "seed=range(100) optimizer.lr=range(1,101)": "a sweep of 10,000 runs is larger than the limit of 5,000",
    "optimizer.lr=interval(0,1)": "use dlzoo tune",
    "optimizer.lr=log(0.1,1)": "Unknown function 'log'",
    "norm=glob(x*)": "matches no name",
    "norm=bn,gn norm=ln": "sets norm twice: norm=bn,gn and norm=ln",
    "optimizer@x=adam,sgd": "type optimizer=...",
    "name=a,b": "name has several values",
    f"name={LONG[:100]} seed=0,1": "cannot be a folder",
    "sweep.dir=a sweep.dir=b": "sets sweep.dir twice",
    "sweep.dry_run=maybe": "must be true or false",
    "executor=locl": "unknown executor",
    "executor.workers=-1": "executor.workers must be",
    "experiment=tab,no_head": "tab.yaml: not valid YAML",
    "experiment=no_head seed=0,1": "its first line must be",
    "choice=choice(": "a bracket is not closed",
}
OTHER = {
    "tune trials=0 seed=1": "trials=0",
    f"tune trials={NINES} seed=1": "",
    "tune trials=1 trials=2 optimizer.lr=log(0.1,1)": "sets trials twice: trials=1 and trials=2",
    "tune optimizer.lr=log(0.1,1) optimizer.lr=0.1": "sets optimizer.lr twice",
    "tune optimizer.lr=log(0.1": "log(a,b) takes two numbers",
    "tune optimizer.lr=uniform(nan,1)": "not a valid range",
    f"tune optimizer.lr=uniform(0,{NINES})": "",
    "tune optimizer.lr=loguniform(0.1,1)": "unknown 'loguniform'; available: log, uniform",
    "tune seed=shuffle(range(1000000000))": "more values than a sweep may have runs",
    "compare norm=bn,gn norm=ln": "sets norm twice",
    "compare norm=bn,gn seeds=1e9": "",
    f"compare norm=bn,gn seeds={NINES}": "",
    "compare norm=bn,gn seeds=1000000000": "",
    "compare norm=bn,gn margin=nan": "margin must be a number",
    "show model resnet20 norm=gn norm=bn": "sets norm twice: norm=gn and norm=bn",
    "show model resnet20 image_size=32 image_size=64": "sets image_size twice",
    "show loss focal loss.gamma=1 loss.gamma=2": "sets loss.gamma twice",
    "anchors data=shapes data=shapes": "sets data twice",
    "anchors data.train=9 data.train=8": "sets data.train twice",
    "anchors count=9 count=8": "sets count twice: count=9 and count=8",
    "eval run=a run=b": "sets run twice",
    "run a data.root=b data.root=c": "sets data.root twice",
    "lr-find low=1 low=2": "sets low twice: low=1 and low=2",
    "train --config-dir nowhere seed=1": "--config-dir nowhere: there is no such folder",
    "train --config-dir /dev/null seed=1": "--config-dir /dev/null: it is not a folder",
    "train --config-dir mine seed=1": "it has no folder experiment",
    f"train --config-dir {LONG} seed=1": "",
    "train --config-dir clash seed=1": "rename yours",
    f"run {LONG}": "",
    "run a\0b": "NUL",
    "run \udcff": "folder not found",
    f"report {LONG}": "",
    "report a\0b": "NUL",
    f"runs {LONG}": "",
    f"diff {LONG} b": "",
    f"eval run={LONG}": "",
    f"predict run={LONG} x.png": "",
    f"show model {LONG}": "unknown model",
    f"list {LONG}": "unknown choice",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "conf" / "experiment").mkdir(parents=True)
    for name, content in FILES.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / "conf" / "experiment" / f"{name}.yaml").write_bytes(data)
    (folder / "clash" / "trainer").mkdir(parents=True)
    (folder / "clash" / "trainer" / "cpu.yaml").touch()
    (folder / "mine").symlink_to(folder / "conf" / "experiment")
    return folder


def check(words: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    before = [path for path in sorted(Path.cwd().rglob("*")) if not path.is_dir()]
    started = time.monotonic()
    assert main(words) == 2
    assert time.monotonic() - started < 10
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("dlzoo: ") and len(line) < 3000
    assert says in line
    assert [path for path in sorted(Path.cwd().rglob("*")) if not path.is_dir()] == before


@pytest.mark.parametrize("typed", TRAIN, ids=lambda typed: ascii(typed[:60]))
def test_a_word_of_a_training(typed: str, files: Path, capsys: pytest.CaptureFixture) -> None:
    Path("mine").symlink_to(files / "mine")
    words = [typed] if typed.startswith(("a b", "name='a' b")) else typed.split(" ")
    check(["train", "--config-dir", str(files / "conf"), *words], TRAIN[typed], capsys)


#: Settings that take text, and what was typed -> their value.
TEXTS = {
    "name=2024": "2024",
    "name=1e5": "1e5",
    "name=1_000": "1_000",
    "name=0.10": "0.10",
    "name=true": "true",
    "name=False": "False",
    "name=nan": "nan",
    "name=-5": "-5",
    "name=null": None,
    "name='null'": "null",
    'name="1e5"': "1e5",
    "run_dir=1e5": "1e5",
    "init_from=007": "007",
    "data.target=2020": "2020",
    "data.target=[2020,x]": ["2020", "x"],
    "data.missing=[-999]": [-999.0],
    "data.missing=[NA,-999.0,null,true,'a b']": ["NA", "-999.0", "null", "true", "a b"],
    "data.drop=[0]": ["0"],
}


@pytest.mark.parametrize("typed", TEXTS)
def test_text_is_taken_as_it_was_typed(typed: str) -> None:
    config = compose(["data=csv", "data.path=x", typed])
    for key in typed.partition("=")[0].split("."):
        config = config[key]
    assert config == TEXTS[typed]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("trainer.ema=choice(null,0.9)", [None, 0.9]),
        ("trainer.ema=null,0.9", [None, 0.9]),
        ("name=choice(1e5)", ["1e5"]),
        ("data.target=2020,2021,2020", ["2020", "2021"]),
        ("data.target=choice('1','2')", ["1", "2"]),
        ("data.missing=[1e5],[true,x]", [[100000.0], ["true", "x"]]),
        ("optimizer.lr=0.1,1e-1,0.01", [0.1, 0.01]),
        ("seed=3,shuffle(1,2)", None),
        ("seed=range(2,8,2)", [2, 4, 6]),
        ("optimizer.lr=range(0.5,1.25,0.25)", [0.5, 0.75, 1.0]),
    ],
)
def test_the_values_of_a_sweep_are_taken_as_they_were_typed(typed: str, values: list | None) -> None:
    if values is None:
        with pytest.raises(UserError, match="cannot list"):
            expand([typed], list)
        return
    found = []
    for line in expand([typed], list)[0]:
        config = compose(["data=csv", "data.path=x", *line])
        for key in typed.partition("=")[0].split("."):
            config = config[key]
        found.append(config)
    assert found == values


def test_an_experiment_of_one_s_own_is_a_file_or_in_a_folder_that_is_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "my, conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "base_of_mine.yaml").write_text(HEAD + "trainer: {threads: 1, max_epochs: 2}\n")
    (folder / "my_trial.yaml").write_text(
        f"{HEAD}# My question.\ndefaults:\n  - base_of_mine\n  - override /model: linear\ntrainer: {{max_epochs: 3}}\n"
    )
    (folder / "my_norms.yaml").write_text(HEAD + "comparison: {vary: {norm: [bn, gn]}, seeds: 2}\n")
    with searching(str(folder.parent)):
        found = compose(["experiment=my_trial"])
        assert (found["model"]["name"], found["trainer"]["max_epochs"], found["trainer"]["threads"]) == ("linear", 3, 1)
        by_path = compose([f"experiment='{folder}/my_trial.yaml'", "trainer.max_epochs=4"])
        assert by_path == found | {"trainer": found["trainer"] | {"max_epochs": 4}}
        request = parse_comparison(["experiment=my_norms"])
        assert request.typed[:4] == ["dlzoo", "compare", "--config-dir", str(folder.parent)]
        assert len(plan(request).runs) == 4
    with pytest.raises(UserError, match="unknown experiment 'my_trial'"):
        compose(["experiment=my_trial"])
    Path("x.yaml").write_text((folder / "my_norms.yaml").read_text())
    assert plan(parse_sweep(["experiment=./x.yaml"])).name == "x"
    Path("x.yaml").write_text(HEAD + "trainer: {max_epochs: 7}\n")
    assert compose(["experiment=x.yaml"])["trainer"]["max_epochs"] == 7
    Path("x.yaml").write_text(HEAD + "trainer: {max_epochs: 11}\n")
    assert compose(["experiment=x.yaml"])["trainer"]["max_epochs"] == 11
    assert main(["list", "experiment", "--config-dir", str(folder.parent)]) == 0
    assert {"my_trial", "my_norms", "bn_vs_gn"} <= {*capsys.readouterr().out.split()}
    assert main(["show", "experiment", "my_trial", "--config-dir", str(folder.parent)]) == 0
    assert "My question." in capsys.readouterr().out
    assert main(["list", "experiment"]) == 0
    assert "my_trial" not in capsys.readouterr().out


@pytest.mark.parametrize("typed", SWEEP, ids=lambda typed: ascii(typed[:60]))
def test_a_word_of_a_sweep(typed: str, files: Path, capsys: pytest.CaptureFixture) -> None:
    check(["train", "-m", "--config-dir", str(files / "conf"), *typed.split(" ")], SWEEP[typed], capsys)


@pytest.mark.parametrize("typed", OTHER, ids=lambda typed: ascii(typed[:60]))
def test_a_word_of_another_command(typed: str, files: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("mine", "clash"):
        Path(name).symlink_to(files / name)
    check(typed.split(" "), OTHER[typed], capsys)
