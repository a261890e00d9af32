"""What does not fit is refused before training, and nothing that was there is lost."""

import re
from pathlib import Path

import pytest
import torch

from dlzoo.builder import execute as execution
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.runs.run_dir import RunDir


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.batch_size=5000"], "larger than the 1295 training samples"),
        (["trainer.accumulate=3"], "does not divide into trainer.accumulate=3"),
        (["model=mlp", "norm=in"], "cannot train on .*one pixel.* norm=gn"),
        (["model=resnet18", "norm=in"], "cannot train on .*one pixel.* norm=gn"),
        (["model=resnet18", "data.batch_size=1"], "cannot train on 1 image.* larger data.batch_size,.* norm=gn"),
        (["trainer.early_stopping=2", "data.val_fraction=0"], "needs a validation split"),
        (["trainer.validate_every_epochs=2", "data.val_fraction=0"], "validate_every_epochs needs a validation split"),
        (["trainer.keep_best=2", "data.val_fraction=0"], "keep_best needs a validation split"),
        (["trainer.validate_every_steps=2", "data.val_fraction=0"], "validate_every_steps needs a validation split"),
        *(
            (
                [f"trainer.monitor={name}"],
                rf"trainer\.monitor={name} is not a metric of .* data=digits, which has classes;"
                " choose loss or accuracy or accuracy_top5 or f1_macro or calibration_error$",
            )
            for name in ("nonsense", "r2", "val/map_coco", "test/accuracy", "train/loss", "val/")
        ),
        (
            ["data=wine", "model=mlp", "trainer.monitor=accuracy_top5"],
            "data=wine, which has classes; choose loss or acc",
        ),
        (
            ["trainer.validate_every_epochs=2", "trainer.validate_every_steps=9"],
            "validate_every_epochs=2 and trainer.validate_every_steps=9 are both set; keep one",
        ),
        (["data.val_fraction=1"], "leaves 0 for training"),
        (["model=linear", "freeze=backbone"], "the model has no layers before its head"),
        (["init.zero_last_norm=true", "norm=none"], "needs a norm with a scale"),
        (["loss.class_weights=[1,2]"], "class_weights"),
        (
            ["trainer.precision=fp16", "model=mlp", "optimizer=sam"],
            "more than once per step, .*precision=fp32",
        ),
        (["trainer.checkpoint_activations=true", "model=mlp"], "model=mlp has none; choose a model of alexnet, .*vgg"),
        (["trainer.checkpoint_activations=true", "trainer.compile=true"], "set trainer.compile=false"),
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
    assert "data=cifar10: not found in 'data', or incomplete; set data.download=true" in capsys.readouterr().err
    assert list(Path("outputs").iterdir()) == []


def test_an_error_never_removes_a_run_that_was_there_before() -> None:
    run = RunDir.create(Path("outputs") / "mine", compose(["data=cifar10"]))
    with pytest.raises(UserError, match="or incomplete"):
        execution.execute(run)
    assert run.read()["state"] == "failed"
    assert run.config_file.exists()
