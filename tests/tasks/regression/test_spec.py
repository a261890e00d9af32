"""The regress task and tables, end to end."""

import json
import re
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

import dlzoo
from dlzoo.builder.evaluate import evaluate
from dlzoo.cli import main
from dlzoo.core.errors import Interrupted
from dlzoo.core.registries import DATASETS, LOSSES
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.regression.module import Standardise
from tests.small import last_of_each, logged, same, train, weights

QUICK = ["trainer=cpu", "trainer.max_epochs=30", "optimizer=adam", "optimizer.lr=0.01", "data.batch_size=32"]
#: csv is a file of one's own, and box_pairs a simulation: an experiment trains it.
OTHERS = ("csv", "box_pairs")
TABLES = [name for name in DATASETS.names() if DATASETS[name].marks.table and name not in OTHERS]


@pytest.mark.draws
@pytest.mark.parametrize("name", TABLES)
def test_every_table_trains_with_what_suits_it(name: str) -> None:
    run = train(f"data={name}", *QUICK)
    record = RunDir.open(run.dir).read()
    assert record["kind"] == "table"
    assert record["config"]["model"]["name"] == "mlp"
    expected = {"diabetes": 0.3, "sine": 0.6}.get(name, 0.9)
    assert run.metrics[f"test/{record['monitor']}"] > expected
    drawn = {path.stem for path in (run.dir / "pictures").glob("*.png")}
    assert drawn == set(record["pictures"])
    assert {"diabetes": "predictions", "sine": "fit"}.get(name, "confusion") in drawn
    tested = {key: value for key, value in run.metrics.items() if key.startswith("test/")}
    assert evaluate(str(run.dir)) == pytest.approx(tested, rel=1e-5)


@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if "regression" in LOSSES[name].marks.targets])
def test_every_regression_loss_fits_a_line(loss: str) -> None:
    if not LOSSES[loss].marks.learns:
        pytest.skip("has no gradient")
    run = train("data=diabetes", "model=linear", f"loss={loss}", *QUICK, "trainer.max_epochs=40")
    assert run.metrics["test/r2"] > 0.3


def test_a_stopped_regression_goes_on_to_the_bit() -> None:
    settings = ["data=diabetes", *QUICK, "trainer.max_epochs=4"]
    whole = train(*settings, "run_dir=whole")

    class After(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                pl_module.stop_requested = True

    with pytest.raises(Interrupted):
        dlzoo.train(last_of_each([*settings, "run_dir=cut"]), quiet=True, callbacks=[After()])
    RunDir.open("cut").update(callbacks=[])
    cut = train("resume=cut")
    assert same(weights(whole), weights(cut))
    assert logged(whole.dir) == logged(cut.dir)
    assert cut.metrics == whole.metrics


def test_numbers_are_standardised_and_brought_back() -> None:
    targets = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]], dtype=torch.float64)
    standardise = Standardise(targets)
    seen = standardise(targets)
    torch.testing.assert_close(seen.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen[:, 0].std(correction=0), torch.tensor(1.0))
    assert seen[:, 1].abs().max() == 0  # a constant
    torch.testing.assert_close(standardise.inverse(seen), targets, atol=1e-6, rtol=1e-6)


def test_targets_that_differ_by_less_than_float32_holds(tmp_path: Path) -> None:
    """Times in seconds, identifiers: the first answer is no perfect one."""
    table = tmp_path / "times.csv"
    table.write_text("x,t\n" + "".join(f"{i % 17},{1_700_000_000 + 20 * (i % 17) / 17}\n" for i in range(100)))
    run = train("data=csv", f"data.path={table}", "data.target=t", "loss=mse", *QUICK, "trainer.max_epochs=1")
    assert run.metrics["test/r2"] < 0.99
    assert train("data=csv", f"data.path={table}", "data.target=t", "loss=mse", *QUICK).metrics["test/r2"] > 0.95


@pytest.mark.parametrize("data", ["wine", "diabetes"])
def test_weights_that_are_lost_in_the_last_step_are_noticed(data: str, capsys: pytest.CaptureFixture) -> None:
    lost = ["optimizer=adam", "optimizer.lr=1e38", "data.batch_size=full", "trainer.max_epochs=1", "trainer=cpu"]
    assert main(["train", f"data={data}", *lost, "run_dir=run"]) == 2
    assert "the weights are not finite after step 1" in capsys.readouterr().err
    assert RunDir.open("run").read()["state"] == "failed"


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=lion", "optimizer.lr=1e300"],
        ["optimizer.l1=1e300"],
        ["optimizer=lbfgs", f"optimizer.history={10**26}"],
    ],
)
def test_settings_that_no_float_holds_are_one_line(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "data=wine", *words, "trainer.max_epochs=1", "trainer=cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("too large|not finite|optimizer.history must be an integer from 1 to", line), line


def test_a_csv_of_ones_own(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(200, generator=generator)
    rows = [
        f"{v:.4f},{'red' if v > 0.5 else 'blue'},{'' if i % 17 == 0 else i % 5},{3 * v:.4f}" for i, v in enumerate(x)
    ]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["size,colour,count,price", *rows]) + "\n")
    run = train("data=csv", f"data.path={table}", "data.target=price", "loss=mse", *QUICK)
    assert run.metrics["test/r2"] > 0.9
    run = train("data=csv", f"data.path={table}", "data.target=colour", *QUICK)
    assert run.metrics["test/accuracy"] > 0.9
    assert RunDir.open(run.dir).read()["classes"] == ["blue", "red"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["data=diabetes", "model=resnet20"],
            "model=resnet20 is for images, but data=diabetes is a table; choose model=",
        ),
        (["data=diabetes", "loss=cross_entropy"], "loss=cross_entropy is for classes, but data=diabetes has numbers"),
        (["data=diabetes", "loss.link=sigmoid"], "loss.link=sigmoid is for classes"),
        (["data=diabetes", "augment=crop"], "augment=crop is for images"),
        (["data=diabetes", "augment.mixup=0.2"], "augment.mixup mixes classes"),
        (["data=diabetes", "data.label_noise=0.1"], "data.label_noise is for classes"),
        (["data=diabetes", "data.sampler=balanced"], "data.sampler=balanced is for classes"),
        (["data=wine", "data.test_shift=blur"], "data.test_shift=blur is for images"),
        (["data=wine", "trainer.self_adversarial=0.1"], "trainer.self_adversarial is for images"),
    ],
)
def test_what_does_not_suit_a_table(words: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "trainer=cpu", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_table_is_not_predicted_from_pictures(capsys: pytest.CaptureFixture) -> None:
    run = train("data=wine", *QUICK, "trainer.max_epochs=1")
    assert main(["predict", f"run={run.dir}", "x.png"]) == 2
    assert "was trained on a table" in capsys.readouterr().err
    assert main(["eval", f"run={run.dir}", "--json"]) == 0
    assert "test/accuracy" in json.loads(capsys.readouterr().out)
