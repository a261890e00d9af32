"""What a finished run is good for: eval, predict, weights for another run."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from dlzoo.builder import execute as execution
from dlzoo.builder.evaluate import evaluate
from dlzoo.builder.predict import predict
from dlzoo.cli import main
from dlzoo.core.errors import Note, UserError
from dlzoo.runs.run_dir import RunDir
from tests.small import SMALL, train, weights


def test_eval_measures_the_same_again_and_predict_names_classes(pictures: Path, capsys: pytest.CaptureFixture) -> None:
    settings = ["model=mlp", "optimizer.lr=0.01", "data=image_folder", f"data.root={pictures}", "data.batch_size=8"]
    run = train(*settings, "trainer.max_epochs=5")
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
    with pytest.raises(UserError, match="the data has changed since the run was trained"):
        evaluate(str(run.dir))


def test_fine_tuning_on_other_classes_with_a_frozen_backbone(pictures: Path) -> None:
    settings = ["model=resnet20", "model.width=4", "data=image_folder", f"data.root={pictures}", "data.batch_size=8"]
    first = train(*settings, "trainer.max_epochs=1")
    for part in ("train", "test"):
        (pictures / part / "dim").mkdir()
        for index in range(8):
            Image.new("RGB", (12, 12), (100, len(part) * 9, 100 + index)).save(pictures / part / "dim" / f"{index}.png")
    second = train(*settings, f"init_from={first.dir}", "freeze=backbone", "trainer.max_epochs=2")
    best = torch.load(first.dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for key, value in weights(second).items():
        if key.startswith("network.head"):
            assert value.shape[0] == 3
        elif key.startswith("network."):
            assert torch.equal(value, best[key]), key  # running statistics too
    torch.save({key.removeprefix("network."): v for key, v in best.items() if key.startswith("network.")}, "w.pt")
    third = train(*settings, "init_from=w.pt", "trainer.max_epochs=1")
    assert third.metrics["test/accuracy"] >= 0


def test_weights_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    first = train(*SMALL, "trainer=debug")
    for wrong, says in [
        (f"{first.dir} model.hidden=[16,16]", "weights of another model"),
        (f"{first.dir} model.hidden=[17]", "weights of another model"),
        ("absent.pt", "cannot be read as weights"),
        ("/etc/hostname", "damaged, or not a file of weights"),
        (f"{tmp_path}", "no run of dlzoo, and no file of weights"),
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
    with (
        pytest.warns(Note, match="records were changed"),
        pytest.raises(UserError, match=r"last\.ckpt: weights of another model"),
    ):
        execution.execute(run)
    run.last_checkpoint.write_bytes(b"half")
    with pytest.raises(UserError, match=r"last\.ckpt: damaged, or not a checkpoint of a run"):
        execution.execute(run)


def test_a_stranger_s_pickle_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"state_dict": Evil()}, "evil.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        train(*SMALL, "init_from=evil.pt")
    assert not (tmp_path / "owned").exists()


def test_without_its_best_checkpoint_a_run_says_what_is_lost() -> None:
    run = RunDir.open(train(*SMALL, "run_dir=run").dir)
    run.best_checkpoint.unlink()
    run.update(state="interrupted")
    with pytest.raises(UserError, match=r"best\.ckpt is missing, so there are no weights to test; start a new run"):
        execution.execute(run)
