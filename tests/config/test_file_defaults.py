"""The loss of data=csv follows its target, which is looked at before the config is frozen."""

import subprocess
import sys
from pathlib import Path

import pytest

from dlzoo.config import compose, finalise, read
from dlzoo.config.defaults import options
from dlzoo.core.errors import UserError
from dlzoo.runs.run_dir import RunDir
from tests.small import train

QUICK = ["model.hidden=[4]", "data.batch_size=8", "trainer.max_epochs=2", "trainer=cpu"]

#: Name of a file -> (the values of its target, the loss by default).
FILES = {
    "fractions": ([f"{i * 0.5}" for i in range(40)], "mse"),
    "many": ([str(i) for i in range(40)], "mse"),
    "few": ([str(i % 3) for i in range(40)], "cross_entropy"),
    "words": (["a", "b"] * 20, "cross_entropy"),
    "booleans": (["True", "FALSE"] * 20, "cross_entropy"),
    "later": ([*(f"{i * 0.5}" for i in range(39)), "abc"], "cross_entropy"),  # an error when it is loaded
    "missing": (["NA", *(f"{i * 0.5}" for i in range(39))], "mse"),  # an error, too
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, (values, _) in FILES.items():
        lines = [f"{i % 7};{value}" for i, value in enumerate(values)]
        Path(f"{name}.csv").write_text("\n".join(["size;price", *lines]) + "\n")
    return tmp_path


def words(name: str, *more: str) -> list[str]:
    return ["data=csv", f"data.path={name}.csv", "data.target=price", *more]


@pytest.mark.parametrize("name", FILES)
def test_the_default_loss_is_that_of_the_target(name: str, table: Path) -> None:
    made = compose(words(name))
    assert made["loss"]["name"] == FILES[name][1]
    assert made["data"]["task"] == "auto"  # the data set finds it out again
    for loss in ("mse", "cross_entropy"):  # one that is typed is left alone
        assert compose(words(name, f"loss={loss}"))["loss"]["name"] == loss


@pytest.mark.parametrize("target", ["2020", "007", "[2020]"])
def test_a_column_may_be_called_as_a_number(target: str, table: Path) -> None:
    Path("years.csv").write_text("".join(f"{line}\n" for line in ("2020,007,size", *(f"{i},{i},1" for i in range(40)))))
    made = compose(["data=csv", "data.path=years.csv", f"data.target={target}"])
    assert made["loss"]["name"] == "mse"


def test_a_task_that_is_set_needs_no_file(table: Path) -> None:
    assert compose(words("nowhere", "data.task=regress"))["loss"]["name"] == "mse"
    assert compose(words("few", "data.task=regress"))["loss"]["name"] == "mse"
    assert compose(words("many", "data.task=classify"))["loss"]["name"] == "cross_entropy"
    several = ["data=csv", "data.path=many.csv", "data.target=[price,size]"]
    assert compose(several)["loss"]["name"] == "mse"


@pytest.mark.parametrize(
    "more",
    [["data.path=nowhere.csv"], ["data.target=nothing"], ["data.path=.", "data.target=price"], ["data.decimal=comma"]],
)
def test_a_file_that_cannot_be_read_is_an_error_when_it_is_loaded(more: list[str], table: Path) -> None:
    typed = dict(word.split("=") for word in [*words("fractions"), *more])
    made = compose([f"{key}={value}" for key, value in typed.items()])
    assert made["loss"]["name"] == "cross_entropy"
    with pytest.raises(UserError, match=r"nowhere\.csv|no column 'nothing'|is a directory|which looks like"):
        train(*(f"{key}={value}" for key, value in typed.items()), *QUICK)


def test_settings_of_the_loss_and_other_defaults_stay(table: Path) -> None:
    assert compose(words("many", "loss.link=identity"))["loss"] == {"name": "mse", "link": "identity"}
    with pytest.raises(UserError, match="loss=mse has no such setting"):
        compose(words("many", "loss.label_smoothing=0.1"))
    plain, many = compose(words("few")), compose(words("many"))
    assert {key for key in plain if plain[key] != many[key]} == {"data", "loss"}


def test_a_run_takes_it_and_keeps_it(table: Path) -> None:
    run = train(*words("fractions"), *QUICK)
    assert run.metrics["test/r2"] < 2
    assert run.config["loss"]["name"] == "mse"
    explicit = train(*words("fractions", "loss=mse"), *QUICK)
    assert explicit.metrics == run.metrics
    # A later file with other values changes no config that exists.
    Path("fractions.csv").write_text(Path("words.csv").read_text())
    assert read(RunDir.open(run.dir).config_file)["loss"]["name"] == "mse"
    assert finalise(run.config) == run.config


def test_a_wrong_row_is_named(table: Path) -> None:
    with pytest.raises(UserError, match=r"later.csv:41: 'price' is 'abc', among 39 different numbers"):
        train(*words("later"), *QUICK)
    with pytest.raises(UserError, match="the target 'price' is missing in 1 of 40 rows; fill in or remove line 2"):
        train(*words("missing"), *QUICK)


def test_no_other_default_changes_and_no_torch_is_needed(table: Path) -> None:
    code = (
        "import sys; from dlzoo.config import compose; print(compose(sys.argv[1:])['loss']['name'],"
        " 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words("many")], capture_output=True, text=True, check=True, cwd=table
    )
    assert done.stdout == "mse False\n"
    for name in options("data"):
        if name != "csv":
            compose([f"data={name}"])


def test_the_defaults_of_a_task_need_no_torch() -> None:
    code = (
        "import sys; from dlzoo.config import compose; config = compose(['data=shapes', 'data.task=segment']);"
        " print(config['model']['name'], config['optimizer']['name'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "unet_tiny adamw False\n"
