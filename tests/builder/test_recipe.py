"""Every loss, optimizer, schedule, regulariser and recipe trains digits, through the whole machine."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback

import dlzoo
from dlzoo.builder.recipe import RunRecipe
from dlzoo.builder.trainer import Assembled
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.core.protocols import Stepwise
from dlzoo.core.registries import AUGMENTS, LOSSES, OPTIMIZERS, SCHEDULES
from dlzoo.data.loader import Batch
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.test_time import COUNTS
from dlzoo.engine.adversarial import SelfAdversarial
from dlzoo.engine.closure import Closure
from dlzoo.runs.run_dir import RunDir
from tests.small import CONV, SMALL, last_of_each, same, train, weights

#: Digits by a small perceptron: four epochs of 20 steps.
QUICK = ["trainer=cpu", "model=mlp", "model.hidden=[64]", "trainer.max_epochs=4", "augment=none"]
CLASSIFICATION = [name for name in LOSSES.names() if "classification" in LOSSES[name].marks.targets]
#: Rates that suit 80 steps, where the usual one is for more.
RATES = {
    **{"adadelta": 1.0, "adagrad": 0.05, "adam": 0.01, "adamw": 0.01, "lion": 0.003, "muon": 0.02, "radam": 0.03},
    **{"rmsprop": 0.003},
}


@pytest.mark.parametrize("data", ["digits", "breast_cancer"])
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_classification_loss_trains_classifiers(name: str, data: str) -> None:
    """Of ten classes and of two."""
    run = train(*QUICK, f"loss={name}", f"data={data}", "optimizer=adam", "optimizer.lr=0.01")
    if LOSSES[name].marks.learns:
        assert run.metrics["test/accuracy"] > 0.85
    else:
        assert run.metrics["test/accuracy"] < {"digits": 0.3, "breast_cancer": 0.75}[data]
        record = RunDir.open(run.dir).read()
        assert any("the network will not learn" in note for note in record["remarks"])


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_trains_digits(name: str) -> None:
    rate = [f"optimizer.lr={RATES[name]}"] if name in RATES else []
    model = ["model=linear"] if OPTIMIZERS[name].marks.linear else []
    words = [word for word in QUICK if not (model and word.startswith("model"))]
    few = ["data.batch_size=full", "trainer.max_epochs=3"] if OPTIMIZERS[name].marks.full_batch else []
    run = train(*words, *model, *few, f"optimizer={name}", *rate)
    assert run.metrics["test/accuracy"] > 0.85


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_every_schedule_trains_digits(name: str) -> None:
    run = train(*QUICK, f"schedule={name}", "schedule.warmup=0.1")
    assert run.metrics["test/accuracy"] > 0.85


@pytest.mark.parametrize("name", [name for name in AUGMENTS.names() if name != "none"])
def test_every_recipe_trains(name: str) -> None:
    longer = ["trainer.max_epochs=8"] if name in ("randaugment", "strong", "trivialaugment", "yolo") else []
    run = train(*QUICK, *longer, "optimizer=adam", "optimizer.lr=0.01", f"augment={name}")
    assert run.metrics["test/accuracy"] > 0.6


@pytest.mark.parametrize("asked", ["augment.mixup=0.4", "augment.cutmix=1", "augment.cutout=3"])
def test_mixing_trains_digits(asked: str) -> None:
    run = train(*QUICK, "optimizer=adam", "optimizer.lr=0.01", asked)
    assert run.metrics["test/accuracy"] > 0.85


@pytest.mark.parametrize("name", [name for name in CLASSIFICATION if LOSSES[name].marks.soft])
def test_every_soft_loss_takes_mixed_labels(name: str) -> None:
    run = train(*QUICK, "optimizer=adam", "optimizer.lr=0.01", f"loss={name}", "augment.mixup=1", "augment.cutmix=1")
    assert run.metrics["test/accuracy"] > 0.7


def test_views_change_the_answers_and_not_the_training() -> None:
    runs = [train(*CONV, "augment=flip_crop", f"augment.test={test}") for test in COUNTS]
    assert all(same(weights(runs[0]), weights(seen)) for seen in runs)
    assert len({run.metrics["test/loss"] for run in runs}) == len(COUNTS)
    assert all(RunDir.open(run.dir).read()["tested"] == 160 for run in runs)


def test_alexnets_window_reaches_the_network_the_test_and_the_prediction(capsys: pytest.CaptureFixture) -> None:
    run = train(*CONV, "augment=alexnet", "head=fc", "head.hidden=[16]", "augment.test=ten_crop")
    made = Assembled(compose([*CONV, "augment=alexnet"]))
    assert made.run_recipe.wiring["image_size"] == 7
    (batch,) = made.module.loaders.train.batches(0)
    assert batch.images.shape[2:] == (7, 7)
    assert made.module.loaders.test.batch(0).images.shape[2:] == (7, 7)
    Image.new("L", (8, 8), 100).save("grey.png")
    assert main(["predict", f"run={run.dir}", "grey.png"]) == 0
    assert "grey.png:" in capsys.readouterr().out


def test_l1_leaves_exact_zeros_which_are_counted() -> None:
    words = [*(word for word in QUICK if not word.startswith("model")), "trainer.max_epochs=8"]
    sparse = train(*words, "model=linear", "optimizer.l1=0.03", "optimizer.weight_decay=0", "trainer.select=last")
    record = RunDir.open(sparse.dir).read()
    saved = weights(sparse)["network.head.weight"]
    assert record["zero_weights"] == int((saved == 0).sum()) > 0.2 * saved.numel()
    assert sparse.metrics["test/accuracy"] > 0.85
    plain = train(*words, "model=linear", "optimizer.weight_decay=0.01")
    assert RunDir.open(plain.dir).read()["zero_weights"] == 0


def test_a_number_freezes_layers_from_the_first_one() -> None:
    before = Assembled(compose([*CONV, "freeze=3"])).module.network.state_dict()
    after = weights(train(*CONV, "freeze=3"))
    moved = {key for key, value in before.items() if not torch.equal(value, after[f"network.{key}"])}
    still = set(before) - moved
    first = [key for key in before if key.startswith(("stem", "conv1"))]
    assert first and set(first) <= still
    assert "head.weight" in moved
    assert any(key.startswith("stages.0.") for key in still)
    assert any(key.startswith("stages.2.") for key in moved)


def test_self_adversarial_training_moves_images_against_the_network_and_nothing_else() -> None:
    made = Assembled(compose([*CONV, "trainer.self_adversarial=0.05"]))
    module = made.module
    (batch,) = module.loaders.train.batches(0)
    buffers = {name: buffer.clone() for name, buffer in module.network.named_buffers()}
    attacked = SelfAdversarial(0.05, made.normalise, module.network, module.loss)(batch)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in module.network.named_buffers())
    assert all(parameter.grad is None for parameter in module.network.parameters())
    scale = (made.normalise.scale * 255).flatten()
    moved = (attacked.images - batch.images).abs() / scale.view(1, -1, 1, 1)
    assert moved.max() == pytest.approx(0.05, rel=1e-3)
    low, high = (made.normalise(torch.full((1, 1, 1, 1), level)) for level in (0.0, 255.0))
    assert attacked.images.min() >= low.min()
    assert attacked.images.max() <= high.max()
    module.network.eval()
    with torch.no_grad():
        assert module.loss(attacked)[0] > module.loss(batch)[0]
    run = train(*QUICK, "optimizer=adam", "optimizer.lr=0.01", "trainer.self_adversarial=0.02")
    assert run.metrics["test/accuracy"] > 0.85


@pytest.mark.parametrize("norm", ["bn", "cmbn"])
def test_a_closure_answers_the_same_each_time(norm: str) -> None:
    """Dropout draws the same masks, and what a norm keeps from batch to batch is as it was."""
    module = Assembled(compose([*CONV, "drop=dropout", "drop.rate=0.5", f"norm={norm}", "trainer.accumulate=4"])).module
    stepwise = [layer for layer in module.network.modules() if isinstance(layer, Stepwise)]
    reseed: list = [lambda: module.context.reseed(torch.device("cpu"), 3)]

    def begin_pass() -> None:
        for begin in (*reseed, *(layer.begin_step for layer in stepwise)):
            begin()

    def gradients(batches: Sequence[Batch]) -> list[tuple[torch.Tensor, ...]]:
        losses = [module.loss(batch)[0] for batch in batches]
        torch.stack(losses).mean().backward()
        return [(loss.detach(),) for loss in losses]

    closure = Closure(module.network, list(module.loaders.train.batches(3)), module.loss, begin_pass, gradients)
    losses = [closure().item() for _ in range(3)]
    assert losses[0] == losses[1] == losses[2]
    reseed.clear()
    assert closure().item() != losses[0]


@pytest.mark.parametrize("name", ["sam", "lbfgs"])
def test_a_closure_draws_one_dropout_mask_and_moves_statistics_once(name: str) -> None:
    """The running means after a step are those of one forward pass, with the same masks each time."""
    words = [*CONV, "drop=dropout", "drop.rate=0.5", "trainer.max_epochs=1", "trainer.limit_batches=1"]
    after = weights(train(*words, f"optimizer={name}"))
    plain = weights(train(*words, "optimizer=sgd"))
    means = [key for key in plain if key.endswith("running_mean")]
    assert means
    for key in means:
        torch.testing.assert_close(after[key], plain[key])


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=sam"],
        ["optimizer=muon", "optimizer.layer_decay=0.8"],
        ["optimizer=lion", "optimizer.l1=0.001", "optimizer.decoupled=false"],
        ["schedule=plateau", "schedule.patience=1"],
        ["augment.mixup=0.5", "augment.cutmix=1", "augment.cutout=2", "data.sampler=bootstrap"],
        ["trainer.self_adversarial=0.02", "data.sampler=balanced"],
        ["optimizer=lbfgs", "trainer.accumulate=2"],
    ],
)
def test_a_stopped_run_goes_on_to_the_bit(words: list[str]) -> None:
    class Stop(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                pl_module.stop_requested = True

    settings = [*SMALL, *words]
    whole = train(*settings, "run_dir=whole")
    with pytest.raises(Interrupted):
        dlzoo.train(last_of_each([*settings, "run_dir=cut"]), quiet=True, callbacks=[Stop()])
    RunDir.open("cut").update(callbacks=[])
    cut = train("resume=cut")
    assert same(weights(whole), weights(cut))
    assert whole.metrics == cut.metrics


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["loss=hinge", "augment.mixup=0.2"],
            "loss=hinge needs one class for each sample, but augment.mixup mixes classes; choose",
        ),
        (["loss=ciou"], "loss=ciou is for boxes, but data=digits has classes; choose loss="),
        (
            ["optimizer=newton"],
            "optimizer=newton is for linear models (model=linear), but model=resnet20 is not linear",
        ),
        (["schedule=plateau", "data.val_fraction=0"], "schedule=plateau needs a validation split"),
        (["freeze=100"], "freeze=100 leaves nothing to train"),
        (["augment=mixup"], "it is a setting of every augment: type augment.mixup="),
        (["augment=several", "augment.steps=[crop,twist]"], "twist"),
        (["loss=focal", "loss.alpha=0.25"], "alpha"),
        (["loss=focal", "loss.alpha=[1,2]"], "loss.alpha has 2 weights for 10 classes"),
        (["optimizer=lbfgs", "optimizer.decay=weights"], "optimizer.decay"),
    ],
)
def test_wrong_combinations_are_one_line_before_training(
    words: list[str], says: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", "trainer=cpu", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(re.escape(says), line), line
    assert not list(Path("outputs").rglob("*.ckpt"))


def test_an_optimizer_that_works_alone_is_refused_for_several_processes() -> None:
    config = compose(["model=linear", "optimizer=newton"])
    with pytest.raises(UserError, match="optimizer=newton runs in one process"):
        RunRecipe(config, Splits.load(config["data"]), world=2)


def test_a_model_of_another_task_is_refused_with_data_that_it_can_use() -> None:
    """An image classifier is not sent to a table."""
    config = compose(["data=shapes", "data.train=8", "data.test=4", "data.batch_size=4", "model=resnet20"])
    with pytest.raises(
        UserError, match="model=resnet20 is for classes and numbers, but data=shapes has objects"
    ) as error:
        RunRecipe(config, Splits.load(config["data"]))
    assert "data=cifar10" in str(error.value)
    assert "data=diabetes" not in str(error.value)
    assert "data=box_pairs" not in str(error.value)
