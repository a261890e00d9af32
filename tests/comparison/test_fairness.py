"""What is said of comparisons that are not fair, and that nothing is said of those that are."""

from typing import Any

import numpy as np
import pytest

from dlzoo.comparison.factors import make_design
from dlzoo.comparison.fairness import MILD, findings, is_within_noise, noise_findings, opposite_sign
from dlzoo.comparison.finding import Finding
from dlzoo.comparison.statistics import Effect
from dlzoo.config import Config
from dlzoo.core import index
from dlzoo.core.registries import REGISTRIES
from tests.swept import RESNET, each, home, sweep, with_entries

FAIR = ["norm=bn,gn", "data.batch_size=2,8", "optimizer.lr_reference_batch=128"]


def found(made: list[Config], records: list[dict[str, Any]] | None = None, **how: Any) -> list[Finding]:
    return findings(made, make_design(made, **how), records)


def kinds(made: list[Config], records: list[dict[str, Any]] | None = None, **how: Any) -> list[str]:
    return [finding.kind for finding in found(made, records, **how)]


def recorded(made: list[Config], **facts: Any) -> list[dict[str, Any]]:
    """What run.json says of finished runs that were made alike."""
    alike = {
        "state": "finished",
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "git_commit": "1d6e755",
        "device": "CPU, 1 thread",
        "precision": "32-true",
        "ranks": 1,
        "data_fingerprint": "f1c5",
        "data_sizes": {"train": 1294, "val": 144, "test": 359},
        "steps": 400,
    }
    return [{**alike, **facts, "config": config} for config in made]


@pytest.mark.parametrize(
    "words",
    [
        FAIR,
        ["norm=bn,gn", "data.batch_size=8"],
        ["norm=bn,gn", "data.split_seed=${seed}"],
        ["norm=bn,gn", "data.batch_size=2,8", "optimizer.lr=0.1,0.01"],
        ["norm=bn,gn", "act=relu,mish"],
        ["loss=cross_entropy,focal", "data.imbalance=10"],
        ["loss.label_smoothing=0,0.1"],
        ["optimizer.l1=0,0.0001"],
        ["data.label_noise=0,0.2,0.4", "loss=cross_entropy,hinge"],
        ["data.limit=100,200", "norm=bn,gn"],
        ["augment.mixup=0,0.2", "augment=none,crop"],
        ["trainer.max_epochs=5,10"],
        ["trainer.precision=fp32,bf16"],
        ["trainer.threads=1"],
        [],
    ],
)
def test_nothing_is_said_of_a_fair_sweep(words: list[str]) -> None:
    made = sweep(RESNET, *words)
    assert found(made) == []
    assert found(made, recorded(made)) == []


@pytest.mark.parametrize("choice", [choice for choice in REGISTRIES if choice not in ("loss", "data")])
def test_an_entry_as_it_comes_is_a_fair_opponent(choice: str) -> None:
    said = found(with_entries(choice, index.available(choice), **home(choice)))
    assert {finding.kind for finding in said} == ({"own settings"} if choice == "optimizer" else set())


@pytest.mark.parametrize(
    ("arms", "kind", "words"),
    [
        (
            ["norm=bn optimizer.lr=0.1", "norm=gn optimizer.lr=0.05"],
            "confounded",
            ["optimizer.lr changes along with norm", "0.1 with norm=bn, 0.05 with norm=gn"],
        ),
        (
            ["norm=bn optimizer=adam", "norm=gn"],
            "confounded",
            ["optimizer changes along with norm", "adam with norm=bn"],
        ),
        (["norm=bn", "norm=gn trainer.clip_norm=null"], "confounded", ["null with norm=gn"]),
        (["norm=bn", "norm=gn trainer.devices=2"], "confounded", ["trainer.devices"]),
        (["optimizer=adam", "optimizer=sgd optimizer.l1=0.1"], "confounded", ["optimizer.l1"]),
        (["augment=none", "augment=flip data.label_noise=0.1"], "confounded", ["data.label_noise"]),
        (
            [f"{arm} optimizer.lr_reference_batch=8" for arm in ("data.batch_size=2,4", "data.batch_size=8 norm=gn")],
            "confounded",
            ["norm changes along with data.batch_size", "cannot be told apart"],
        ),
        (
            ["optimizer=adam optimizer.lr=0.1,0.2", "optimizer=sgd optimizer.lr=0.3,0.4"],
            "confounded",
            ["optimizer=sgd cannot be compared with optimizer=adam", "the same optimizer.lr"],
        ),
        (["norm=bn", "norm=gn trainer.max_epochs=40"], "budget", ["20 with norm=bn, 40 with norm=gn"]),
        (["norm=bn", "norm=gn data.batch_size=32"], "budget", ["data.batch_size"]),
        (["norm=bn", "norm=gn data.limit=100"], "budget", ["data.limit is null with norm=bn, 100 with norm=gn"]),
        (["norm=bn", "norm=gn data.imbalance=10"], "budget", ["data.imbalance"]),
        (["norm=bn", "norm=gn trainer.limit_batches=3"], "budget", ["trainer.limit_batches"]),
        (["norm=bn", "norm=gn trainer.max_steps=30"], "budget", ["null with norm=bn, 30 with norm=gn"]),
        (["norm=bn", "norm=gn trainer.early_stopping=3"], "budget", ["trainer.early_stopping"]),
        (
            ["norm=bn optimizer.lr=0.1,0.2,0.3,0.4,0.5", "norm=gn optimizer.lr=0.1,0.2"],
            "budget",
            ["optimizer.lr", "5 with norm=bn, 2 with norm=gn"],
        ),
        (["norm=bn,gn data.batch_size=2,8"], "learning rate", ["(0.1)", "optimizer.lr_reference_batch=N"]),
        (["norm=bn", "norm=gn data.sampler=balanced"], "data", ["data.sampler", "balanced with norm=gn"]),
        (["norm=bn,ln", "norm=gn augment=none"], "data", ["augment is crop with norm=bn, none with norm=gn"]),
        (["norm=bn", "norm=gn augment.mixup=0.2"], "data", ["augment.mixup is 0 with norm=bn, 0.2 with norm=gn"]),
        (["norm=bn", "norm=gn data.split_seed=1"], "data", ["data.split_seed"]),
        (["norm=bn", "norm=gn data.test_shift=noise"], "data", ["data.test_shift"]),
        (["norm=bn", "norm=gn trainer.select=last"], "selection", ["trainer.select is best with norm=bn"]),
        (["optimizer.lr=0.1,0.2 data.val_fraction=0"], "selection", ["optimizer.lr", "test split"]),
        (["norm=bn", "norm=gn init_from=before"], "pretrained", ["null with norm=bn, before with norm=gn"]),
        (["norm=bn init_from=one", "norm=gn init_from=two"], "confounded", ["init_from"]),
    ],
)
def test_what_is_not_fair_is_said_with_the_settings(arms: list[str], kind: str, words: list[str]) -> None:
    said = found(each(*arms))
    assert [finding.kind for finding in said if finding.kind not in MILD] == [kind]
    text = said[0].text
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_what_belongs_to_a_choice_that_differs_is_not_said_twice() -> None:
    made = each("optimizer=nesterov norm=gn norm.eps=0.1", "optimizer=momentum")
    (finding,) = found(made, baseline=["optimizer=momentum"])
    assert finding.text.startswith("norm changes along with optimizer")


def test_batch_sizes_that_only_some_have_are_no_tuning() -> None:
    made = [config for config in sweep(RESNET, *FAIR) if config["norm"]["name"] == "bn" or config["seed"] == 0]
    made = [config for config in made if config["data"]["batch_size"] == 2 or config["norm"]["name"] == "bn"]
    assert kinds(made) == []


def test_a_pretrained_network_against_one_that_is_not() -> None:
    made = sweep("model=torchvision", "model.arch=resnet18", "model.pretrained=true") + sweep(RESNET)
    assert kinds(made) == ["pretrained"]
    both = sweep("model=torchvision", "model.arch=resnet18,resnet34", "model.pretrained=true")
    assert kinds(both) == []


def test_some_with_a_best_epoch_and_some_without_validation() -> None:
    arms = "norm=bn", "norm=gn data.val_fraction=0"
    assert kinds(each(*arms)) == ["budget", "selection"]
    assert kinds(each(*(f"{arm} trainer.select=last" for arm in arms))) == ["budget"]


def test_what_was_set_for_each_is_said_mildly() -> None:
    made = sweep("model=resnet20", "model.width=20") + sweep("model=resnext29_8x64d", "model.width=8")
    (finding,) = found(made)
    assert finding.kind == "own settings" in MILD
    assert "20 with model=resnet20, 8 with model=resnext29_8x64d" in finding.text


def test_several_values_of_what_the_other_does_not_have_are_said_mildly() -> None:
    (finding,) = found(each("norm=bn", "norm=gn norm.num_groups=1,8"))
    assert finding.kind == "own settings"
    assert "norm.num_groups was tried with different numbers of values (1 with norm=bn, 2 with norm=gn)" in finding.text


def test_each_optimizer_has_a_rate_and_a_decay_of_its_own() -> None:
    rate, decay = found(each("optimizer=adam,momentum"))
    assert (rate.kind, decay.kind) == ("own settings", "own settings")
    assert "optimizer.lr is 0.1 with optimizer=momentum, 0.001 with optimizer=adam" in rate.text
    assert "optimizer.weight_decay is 0.0005 with optimizer=momentum, 0 with optimizer=adam" in decay.text
    assert kinds(each("optimizer=momentum,nesterov")) == []
    tried = each("optimizer=adam,momentum optimizer.lr=0.1,0.01 optimizer.weight_decay=0")
    assert kinds(tried) == []


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (["data.batch_size=2,8"], ["learning rate", "steps"]),
        (["data.batch_size=2,8 optimizer.lr_reference_batch=2"], ["steps"]),
        (["data.batch_size=2,8 optimizer.lr=0.1,0.2"], ["steps"]),
        (
            ["data.batch_size=2 optimizer.lr=0.1 trainer.max_epochs=2", "data.batch_size=8 trainer.max_epochs=8"],
            ["learning rate", "steps"],
        ),
        (
            ["data.batch_size=2 optimizer.lr=0.1 trainer.max_epochs=2", "data.batch_size=8 trainer.max_epochs=3"],
            ["budget", "learning rate", "steps"],
        ),
        (["data.batch_size=2 optimizer.lr=0.1", "data.batch_size=8 optimizer.lr=0.4"], ["confounded", "steps"]),
    ],
)
def test_batch_sizes_against_each_other(arms: list[str], expected: list[str]) -> None:
    assert sorted(kinds(each(*arms, seeds="0"))) == sorted(expected)


def test_a_batch_size_is_compared_where_somebody_says_so() -> None:
    made = sweep(RESNET, *FAIR)
    assert kinds(made) == []
    assert kinds(made, baseline=["data.batch_size=8"]) == ["steps"]


def test_a_rate_that_is_the_same_in_effect_is_the_same() -> None:
    arms = [f"data.batch_size={size} optimizer.lr_reference_batch={size}" for size in (2, 8)]
    assert "learning rate" in kinds(each(*(f"norm=bn,gn {arm}" for arm in arms)))


def test_a_full_batch_has_a_rate_that_nobody_knows_before() -> None:
    assert "learning rate" not in kinds(each("data.batch_size=8,full optimizer.lr_reference_batch=8"))


def test_the_same_run_twice_is_said() -> None:
    made = each("norm=bn,gn")
    (finding,) = found([*made, made[0]])
    assert (finding.kind, "norm=bn seed=0" in finding.text) == ("repeated", True)


def test_grave_findings_come_first() -> None:
    said = kinds(each("optimizer=adam", "optimizer=momentum trainer.max_epochs=3"))
    assert said == ["budget", "own settings", "own settings"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"device": "NVIDIA H100"}, ["device", "NVIDIA H100 (3 runs)", "changes along with norm"]),
        ({"precision": "bf16-mixed"}, ["precision"]),
        ({"ranks": 2}, ["ranks"]),
        ({"git_commit": "0d0484d"}, ["git_commit", "0d0484d"]),
        ({"versions": {"python": "3.11.7", "torch": "2.14.0"}}, ["torch", "2.14.0 (3 runs)"]),
    ],
)
def test_runs_that_were_not_made_alike(facts: dict[str, Any], words: list[str]) -> None:
    made = each("norm=bn,gn")
    records = [
        record | (facts if config["norm"]["name"] == "gn" else {})
        for config, record in zip(made, recorded(made), strict=True)
    ]
    (finding,) = found(made, records)
    assert finding.kind == "environment"
    assert all(word in finding.text for word in words), finding.text


def test_a_machine_that_changes_in_the_middle_goes_along_with_nothing() -> None:
    made = each("norm=bn,gn")
    records = recorded(made)
    records[0]["device"] = "CPU, 2 threads"
    (finding,) = found(made, records)
    assert "CPU, 1 thread (5 runs), CPU, 2 threads (1 run)" in finding.text
    assert "along with" not in finding.text


def test_what_a_factor_changes_of_the_machine_is_meant() -> None:
    made = each("trainer.precision=fp32,bf16")
    records = recorded(made)
    for config, record in zip(made, records, strict=True):
        record["precision"] = "bf16-mixed" if config["trainer"]["precision"] == "bf16" else "32-true"
    assert found(made, records) == []


def test_code_that_is_in_no_commit() -> None:
    made = each("norm=bn,gn")
    (finding,) = found(made, recorded(made, git_commit="1d6e755-dirty"))
    assert (finding.kind, "6 of 6 runs" in finding.text) == ("environment", True)


def test_files_that_changed_under_the_runs() -> None:
    made = sweep(RESNET, "norm=bn,gn", "data.label_noise=0,0.1")
    by_noise = [
        record | {"data_fingerprint": str(record["config"]["data"]["label_noise"])} for record in recorded(made)
    ]
    assert found(made, by_noise) == []
    by_noise[0]["data_fingerprint"] = "other"
    (finding,) = found(made, by_noise)
    assert (finding.kind, "other" in finding.text) == ("data", True)


def test_what_early_stopping_gave_to_each() -> None:
    made = each("norm=bn,gn trainer.early_stopping=3")
    records = recorded(made)
    assert found(made, records) == []
    for config, record in zip(made, records, strict=True):
        record["steps"] = 400 if config["norm"]["name"] == "bn" else 900 + config["seed"]
    (finding,) = found(made, records)
    assert finding.kind == "steps"
    assert "400 with norm=bn, 901 with norm=gn" in finding.text


def test_a_split_that_the_data_came_with_is_validation() -> None:
    made = each("optimizer.lr=0.1,0.2 data.val_fraction=0")
    assert kinds(made, recorded(made)) == []
    assert kinds(made, recorded(made, data_sizes={"train": 1438, "test": 359})) == ["selection"]


def test_runs_that_have_hardly_begun_are_no_finding() -> None:
    made = each("norm=bn,gn")
    records = recorded(made)
    records[1] = {"state": "created", "config": made[1]}
    records[2] = {"state": "interrupted", "config": made[2], "versions": None}
    assert found(made, records) == []


def failed(made: list[Config], *places: int) -> list[dict[str, Any]]:
    records = recorded(made)
    for place in places:
        records[place] = {"state": "failed", "config": made[place], "error": "the loss became NaN"}
    return records


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ([9, 11, 12], "3 of 8 runs of norm=gn failed: its mean is over the others"),
        (
            [0, 9, 10],
            "1 of 8 runs of norm=bn, 2 of 8 runs of norm=gn failed: their means are over the others",
        ),
        (range(8, 16), "all 8 runs of norm=gn failed: it is left out"),
        (
            range(9),
            "1 of 8 runs of norm=gn failed: its mean is over the others; all 8 runs of norm=bn failed: it is left out",
        ),
    ],
)
def test_runs_that_failed_are_lost(places: list[int], text: str) -> None:
    made = each("norm=bn,gn", seeds="range(8)")
    (finding,) = found(made, failed(made, *places))
    assert finding == Finding("lost", text)
    assert finding.kind not in MILD
    assert found(made) == []


def test_a_run_that_failed_and_was_made_again_is_not_lost() -> None:
    made = each("norm=bn,gn")
    records = [*failed(made, 1), *recorded(made[1:2])]
    assert kinds([*made, made[1]], records) == ["repeated"]


def test_runs_that_are_all_alike_and_failed() -> None:
    made = each("norm=bn", seeds="range(4)")
    assert [each.text for each in found(made, failed(made, 0))] == ["1 of 4 runs failed: its mean is over the others"]


def test_the_only_run_of_an_arm_failed() -> None:
    made = each("norm=bn,gn", seeds="0")
    (finding,) = found(made, failed(made, 1))
    assert finding.text == "the only run of norm=gn failed: it is left out"


def test_a_few_arms_that_failed_stand_for_many() -> None:
    made = each("optimizer.lr=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8", seeds="0,1")
    (finding,) = found(made, failed(made, *range(0, 16, 2)))
    assert "and 2 more failed" in finding.text


@pytest.mark.parametrize(
    "facts",
    [
        {"data_sizes": None},
        {"data_sizes": ["train"]},
        {"versions": 3},
        {"versions": {"torch": None, "python": {"major": 3}}},
        {"data_fingerprint": ["f1c5"]},
        {"device": {"name": "CPU"}, "ranks": [1], "precision": None},
        {"steps": None},
        {"steps": "many"},
        {"steps": float("inf")},
        {"git_commit": 3},
        {"state": ["finished"]},
        {"state": None},
    ],
)
@pytest.mark.parametrize("which", [slice(0, 1), slice(None)])
def test_records_that_are_odd_are_looked_at_as_well(facts: dict[str, Any], which: slice) -> None:
    made = each("norm=bn,gn trainer.early_stopping=3 optimizer.lr=0.1,0.2")
    records = recorded(made)
    for record in records[which]:
        record.update(facts)
    assert set(kinds(made, records)) <= {"environment"}


def test_sizes_that_nobody_wrote_down_are_those_of_the_config() -> None:
    made = each("optimizer.lr=0.1,0.2 data.val_fraction=0")
    assert kinds(made, recorded(made, data_sizes=None)) == ["selection"]


def effect(difference: float, noise: float | None, deviation: float | None = None, paired: bool = True) -> Effect:
    return Effect(difference, None, None, None, None, noise, None, 3, 3, paired, (), deviation)


def test_differences_that_the_seed_makes_as_well_are_one_finding() -> None:
    given = [
        ("small", effect(-0.01, 0.02, 0.02), "undecided"),
        ("large", effect(0.03, 0.02, 0.02), "undecided"),
        ("unpaired", effect(0.01, 0.02, 0.02, paired=False), "undecided"),
        ("unknown", effect(0.01, None), "undecided"),
        ("none at all", effect(0.0, 0.0, 0.0), "undecided"),
        ("lost", effect(float("nan"), 0.02), "undecided"),
        ("the same for every seed", effect(0.01, 0.02, 0.0), "undecided"),
    ]
    (finding,) = noise_findings(given)
    assert finding.kind == "noise" in MILD
    assert finding.text == "the difference is smaller than the seed-to-seed variation: in 3 of 7 comparisons"
    (few,) = noise_findings(given[:3])
    assert few.text == "the difference is smaller than the seed-to-seed variation: small, unpaired"
    small = [
        (label, round(100 * (opposite_sign(one) or 0))) for label, one, word in given if is_within_noise(one, word)
    ]
    assert small == [("small", 31), ("unpaired", 36), ("the same for every seed", 0)]


@pytest.mark.parametrize("verdict", ["better", "worse", "equivalent"])
def test_a_comparison_that_is_decided_is_no_noise(verdict: str) -> None:
    assert noise_findings([("x", effect(0.01, 0.02, 0.01), verdict)]) == []


@pytest.mark.parametrize("difference", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("common", [0.0, 0.8])
@pytest.mark.parametrize("paired", [True, False])
def test_how_often_one_seed_shows_the_opposite(difference: float, common: float, paired: bool) -> None:
    """Seeds of which a part, `common`, is the same in both arms if they are paired."""
    draw = np.random.default_rng(0)
    shared, arm, baseline = draw.normal(size=(3, 200_000))
    own = np.sqrt(1 - common**2)
    arm, baseline = difference + common * shared + own * arm, common * shared + own * baseline
    if not paired:
        baseline = baseline[::-1]
    said = opposite_sign(effect(difference, 1.0, np.sqrt(2) * own, paired))
    assert said is not None
    assert abs(said - (arm < baseline).mean()) < 0.01


def test_two_thousand_runs_are_looked_at() -> None:
    arms = sweep(RESNET, "norm=bn,gn,ln,in,none", "data.batch_size=2,4,8,16", seeds="0")
    made = [{**config, "seed": seed} for config in arms for seed in range(100)]
    records = recorded(made)
    assert kinds(made, records) == ["learning rate"]
