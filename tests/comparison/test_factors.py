"""What varies, what repeats and what is held against what, from nothing but configs."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from dlzoo import config as configs
from dlzoo.comparison.design import Design
from dlzoo.comparison.factors import make_design
from dlzoo.comparison.levels import ABSENT
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from tests.swept import RESNET, each, home, sweep, with_entries


def keys(found: Design) -> list[str]:
    return [factor.key for factor in found.factors]


def held(found: Design) -> list[tuple[str, str]]:
    return [(found.label(pair.arm), found.label(pair.baseline)) for pair in found.pairs()]


def test_a_sweep_of_norms_and_batch_sizes() -> None:
    made = sweep(RESNET, "norm=bn,gn", "data.batch_size=2,16,4", "optimizer.lr_reference_batch=128")
    found = make_design(made)
    norm, batch = found.factors
    assert (norm.key, norm.levels, norm.numeric) == ("norm", ("bn", "gn"), False)
    assert (batch.key, batch.levels, batch.numeric) == ("data.batch_size", (2, 4, 16), True)
    assert found.compared == ("norm",)
    assert found.baseline == {"norm": "bn"}
    assert list(found.arms) == list(product(("bn", "gn"), (2, 4, 16)))
    for arm, runs in found.arms.items():
        for seed, places in runs.items():
            (config,) = (made[place] for place in places)
            assert (config["norm"]["name"], config["data"]["batch_size"], config["seed"]) == (*arm, seed)
    assert found.missing == []
    assert held(found) == [
        (f"norm=gn data.batch_size={size}", f"norm=bn data.batch_size={size}") for size in (2, 4, 16)
    ]
    assert [pair.context for pair in found.pairs()] == [(("data.batch_size", size),) for size in (2, 4, 16)]
    assert found.constants["optimizer.lr_reference_batch"] == 128
    assert found.constants["model"] == "resnet20"
    assert not {"norm", "act", "seed", "trainer.max_epochs", "data.batch_size"} & found.constants.keys()


@pytest.mark.parametrize("choice", [choice for choice in REGISTRIES if choice not in ("loss", "data")])
def test_every_choice_alone_is_one_factor_held_against_what_is_usual(choice: str) -> None:
    names, base = index.available(choice), home(choice)
    made = with_entries(choice, names, **base)
    found = make_design(made)
    assert keys(found) == [choice] == list(found.compared)
    assert sorted(found.factors[0].levels) == names
    usual = configs.compose([f"{key}={name}" for key, name in base.items()])
    assert found.baseline == {choice: usual[choice]["name"]}
    assert found.factors[0].levels[0] == usual[choice]["name"]
    assert len(found.pairs()) == len(names) - 1
    assert found.missing == []


def test_the_order_of_the_runs_does_not_matter() -> None:
    made = sweep(RESNET, "norm=bn,gn,ln", "act=mish,relu", "optimizer.lr=0.1,0.01") + each("norm=in", seeds="0")
    known, shuffled = make_design(made), made.copy()
    random.Random(0).shuffle(shuffled)
    other = make_design(shuffled)
    assert (other.factors, other.baseline, held(other)) == (known.factors, known.baseline, held(known))
    assert (list(other.arms), other.missing, other.constants) == (list(known.arms), known.missing, known.constants)


def test_pairs_differ_in_what_is_compared_and_nothing_else() -> None:
    found = make_design(sweep(RESNET, "norm=bn,gn,ln", "act=relu,mish", "data.batch_size=2,4", seeds="0"))
    assert found.compared == ("norm", "act")
    pairs = found.pairs()
    assert len(pairs) == 2 * (2 * 2) + 1 * (3 * 2)
    for pair in pairs:
        differ = [
            factor.key
            for factor, one, other in zip(found.factors, pair.arm, pair.baseline, strict=True)
            if one != other
        ]
        assert differ == [pair.factor.key]
        assert pair.against == found.baseline[pair.factor.key] != pair.level
        settings = found.settings(pair.arm), found.settings(pair.baseline)
        assert dict(pair.context).items() == settings[0].items() & settings[1].items()


@pytest.mark.parametrize("seeds", ["0", "range(3)"])
def test_runs_that_differ_in_the_seed_only_are_one_arm(seeds: str) -> None:
    made = sweep(RESNET, "trainer.max_epochs=3", seeds=seeds)
    found = make_design(made)
    assert (found.factors, found.compared, found.baseline, found.pairs(), found.missing) == ((), (), {}, [], [])
    assert found.arms == {(): {config["seed"]: [place] for place, config in enumerate(made)}}
    assert found.label(()) == "all runs"
    assert found.constants["trainer.max_epochs"] == 3


def test_no_runs_are_no_comparison() -> None:
    assert make_design([]).arms == {}


@pytest.mark.parametrize(
    "words",
    [
        ["data.split_seed=${seed}"],
        ["data=sine", "model=mlp", "data.draw=${seed}", "data.split_seed=${seed}"],
        ["init_from=before/seed=${seed}/best"],
    ],
)
def test_what_is_the_seeds_repeats_and_is_no_factor(words: list[str]) -> None:
    found = make_design(sweep(*words, "optimizer=momentum,adam"))
    assert keys(found) == ["optimizer"]
    assert [list(runs) for runs in found.arms.values()] == [[0, 1, 2]] * 2


def test_weights_of_another_run_for_each_arm_and_seed_follow_the_arm() -> None:
    arms = [f"norm={norm} init_from=before/{norm}-${{seed}}" for norm in ("bn", "gn")]
    (factor,) = make_design(each(*arms)).factors
    assert factor.follows == {"init_from": {"bn": "before/bn-${seed}", "gn": "before/gn-${seed}"}}


def test_arms_with_seeds_of_their_own_are_arms_still() -> None:
    found = make_design(each("norm=bn", seeds="0,1") + each("norm=gn", seeds="2,3"))
    assert keys(found) == ["norm"]
    assert {arm: list(runs) for arm, runs in found.arms.items()} == {("bn",): [0, 1], ("gn",): [2, 3]}
    assert found.missing == []


@pytest.mark.parametrize(
    ("seeds", "missing"),
    [
        (["range(8)", "range(8,16)"], []),
        (["range(8)", "range(6,14)"], []),
        (["range(8)", "range(5)"], [("gn", 5), ("gn", 6), ("gn", 7)]),
        (["0,1,3,4", "0,1,2,3"], [("bn", 2), ("gn", 4)]),
        (["range(4)", "range(4)", "0,1,2,9"], [("ln", 3)]),
        (["range(4)", "range(4)", "range(4,8)", "range(4,8)"], []),
        (["range(2)", "range(2)", "0", "0"], [("ln", 1), ("in", 1)]),
    ],
)
def test_seeds_are_missing_where_the_arms_share_them(seeds: list[str], missing: list[tuple[str, int]]) -> None:
    names = ["bn", "gn", "ln", "in"]
    made = [config for norm, own in zip(names, seeds, strict=False) for config in each(f"norm={norm}", seeds=own)]
    found = make_design(made, order={"norm": names}).missing
    assert sorted(((arm, seed) for (arm,), seed in found), key=lambda one: names.index(one[0])) == missing


def test_batch_sizes_with_a_seed_each_are_no_repetition() -> None:
    found = make_design(each("data.batch_size=2", seeds="1") + each("data.batch_size=4", seeds="2"))
    assert keys(found) == ["data.batch_size"]


@pytest.mark.parametrize("key", ["trainer.threads", "trainer.keep_every", "trainer.keep_best"])
def test_what_changes_no_number_is_no_factor_unless_somebody_means_it(key: str) -> None:
    words = [f"{key}=1,2", "norm=bn,gn"]
    made = sweep(RESNET, *words, seeds="range(2)")
    found = make_design(made)
    assert keys(found) == ["norm"]
    assert {len(places) for runs in found.arms.values() for places in runs.values()} == {2}
    assert keys(make_design(made, order={key: ["1", "2"], "norm": ["bn", "gn"]})) == [key, "norm"]
    assert make_design(made, [f"{key}=1"]).compared == (key,)


def test_the_same_run_twice_is_two_runs_of_a_cell() -> None:
    made = each("norm=bn,gn")
    found = make_design([*made, made[0]])
    assert found.arms[("bn",)][0] == [0, len(made)]


@pytest.mark.parametrize(
    ("arms", "factor", "follows"),
    [
        (
            ["data.batch_size=2 optimizer.lr=0.1", "data.batch_size=4 optimizer.lr=0.2"],
            "data.batch_size",
            {"optimizer.lr": {2: 0.1, 4: 0.2}},
        ),
        (
            ["optimizer=adam optimizer.lr=0.01", "optimizer=momentum optimizer.lr=0.2"],
            "optimizer",
            {"optimizer.lr": {"adam": 0.01, "momentum": 0.2}},
        ),
        (
            ["norm=bn trainer.max_epochs=5", "norm=gn trainer.max_epochs=9", "norm=ln trainer.max_epochs=9"],
            "norm",
            {"trainer.max_epochs": {"bn": 5, "gn": 9, "ln": 9}},
        ),
        (["norm=bn optimizer=adam", "norm=gn optimizer=sgd"], "norm", {"optimizer": {"bn": "adam", "gn": "sgd"}}),
        (
            ["norm=bn data.batch_size=2,4", "norm=gn data.batch_size=8"],
            "data.batch_size",
            {"norm": {2: "bn", 4: "bn", 8: "gn"}},
        ),
        (["norm=gn norm.num_groups=8", "norm=bn norm.eps=0.1"], "norm", {"norm.eps": {"bn": 0.1, "gn": 1e-05}}),
    ],
)
def test_a_setting_that_changes_along_with_another_follows_it(
    arms: list[str], factor: str, follows: dict[str, Any]
) -> None:
    found = make_design(each(*arms))
    assert keys(found) == [factor]
    assert {key: found.factors[0].follows[key] for key in follows} == follows
    for arm in found.arms:
        assert {key: found.settings(arm)[key] for key in follows} == {
            key: values[arm[0]] for key, values in follows.items()
        }


def test_models_bring_their_own_width_and_parts() -> None:
    made = sweep("model=resnet20", "model.width=20") + sweep("model=resnext29_8x64d", "model.width=8")
    made += sweep("model=googlenet")
    (model,) = make_design(made).factors
    assert model.key == "model"
    assert model.follows["model.width"] == {"resnet20": 20, "resnext29_8x64d": 8}  # GoogLeNet has none
    assert model.follows["norm.eps"]["googlenet"] == 1e-3


def test_a_rate_that_norm_and_batch_size_decide_together_is_no_factor() -> None:
    rates = {("bn", 2): 0.1, ("bn", 4): 0.2, ("gn", 2): 0.05, ("gn", 4): 0.1}
    found = make_design(
        each(*(f"norm={norm} data.batch_size={size} optimizer.lr={rate}" for (norm, size), rate in rates.items()))
    )
    assert keys(found) == ["norm", "data.batch_size"]
    assert found.joint == {"optimizer.lr": rates}
    assert len(found.pairs()) == 2


def test_a_rate_that_only_seems_to_be_decided_where_arms_are_missing_is_a_factor() -> None:
    arms = [
        "norm=bn act=relu optimizer.lr=0.1",
        "norm=bn act=mish optimizer.lr=0.2",
        "norm=gn act=relu optimizer.lr=0.2",
    ]
    assert keys(make_design(each(*arms))) == ["norm", "act", "optimizer.lr"]


def test_rates_of_its_own_leave_an_optimizer_what_is_compared() -> None:
    found = make_design(each("optimizer=momentum optimizer.lr=0.1,0.2", "optimizer=adam optimizer.lr=0.001,0.002"))
    assert keys(found) == ["optimizer", "optimizer.lr"]
    assert found.compared == ("optimizer",)
    assert found.pairs() == []
    assert found.missing == []  # nobody meant to try every rate with both


def test_settings_that_only_some_levels_have_are_held_against_the_one_baseline() -> None:
    found = make_design(each("norm=bn", "norm=gn norm.num_groups=8,1,32"))
    assert keys(found) == ["norm", "norm.num_groups"]
    assert found.factors[1].levels == (1, 8, 32, ABSENT)
    assert not found.factors[1].numeric
    assert found.compared == ("norm",)
    assert held(found) == [(f"norm=gn norm.num_groups={groups}", "norm=bn") for groups in (1, 8, 32)]
    assert [pair.context for pair in found.pairs()] == [(("norm.num_groups", groups),) for groups in (1, 8, 32)]
    assert found.missing == []
    turned = make_design(each("norm=bn", "norm=gn norm.num_groups=8,1,32"), ["norm=gn"])
    assert held(turned) == [("norm=bn", f"norm=gn norm.num_groups={groups}") for groups in (1, 8, 32)]


def test_where_nothing_is_dropped_it_is_dropped_nowhere() -> None:
    arms = "drop=none", "drop=dropout drop.place=after_norm,before_norm"
    found = make_design(each(*arms), ["drop=none", "drop.place=after_norm"])
    assert held(found) == [
        ("drop=dropout drop.place=after_norm", "drop=none"),
        ("drop=dropout drop.place=before_norm", "drop=none"),
        ("drop=dropout drop.place=before_norm", "drop=dropout drop.place=after_norm"),
    ]
    assert found.missing == []
    assert keys(make_design(each("drop=none drop.place=after_norm,before_norm"))) == []


def test_nothing_is_missing_of_arms_that_have_settings_of_their_own() -> None:
    """Those of conf/experiment/dropout_bn_order.yaml."""
    arms = "drop=dropout drop.rate=0.5", "drop=uniform drop.beta=0.5"
    made = each("drop=none", *(f"{arm} drop.place=after_norm,before_norm" for arm in arms))
    for baseline in ([], ["drop=none", "drop.place=after_norm"]):
        found = make_design(made, baseline)
        assert len(found.arms) == 5
        assert found.missing == []


def test_runs_that_others_have_are_missing() -> None:
    made = sweep(RESNET, "norm=bn,gn", "data.batch_size=2,4", seeds="range(2)")
    gone = [
        config
        for config in made
        if (config["norm"]["name"], config["data"]["batch_size"]) != ("gn", 4) and config != made[0]
    ]
    assert make_design(gone).missing == [(("bn", 2), 0), (("gn", 4), 0), (("gn", 4), 1)]


def test_of_a_grid_that_nobody_meant_only_seeds_are_missing() -> None:
    made = each(*(f"norm=bn optimizer.lr={rate} optimizer.weight_decay={rate / 3}" for rate in (0.1, 0.2, 0.3)))
    made += each("norm=gn optimizer.lr=0.4 optimizer.weight_decay=0.5", seeds="0")
    found = make_design(made)
    assert found.missing == [(arm, seed) for arm in found.arms if arm[0] == "gn" for seed in (1, 2)]


@pytest.mark.parametrize(
    ("words", "order", "baseline", "levels"),
    [
        (["norm=gn,ln,bn"], {}, "bn", ("bn", "gn", "ln")),
        (["norm=gn,ln,bn"], {"norm": ["gn", "ln", "bn"]}, "gn", ("gn", "ln", "bn")),
        (["act=mish,elu"], {}, "elu", ("elu", "mish")),
        (["attention=se,none,eca"], {}, "none", ("none", "eca", "se")),
        (["trainer.ema=0.99,null,0.9"], {}, None, (None, 0.9, 0.99)),
        (["model.cross_layer=true,false", "attention=se"], {}, False, (False, True)),
        (["data.batch_size=128,64,full"], {}, 64, (64, 128, "full")),
        (["data.batch_size=32,128,64"], {}, 64, (32, 64, 128)),
        (["data.batch_size=32,128,16"], {"data.batch_size": ["32", "128", "16"]}, 32, (16, 32, 128)),
        (["augment.mixup=0.4,0.2,0"], {}, 0, (0, 0.2, 0.4)),
        (["optimizer.lr=0.3,0.2"], {}, 0.2, (0.2, 0.3)),
    ],
)
def test_levels_stand_in_order_and_one_is_the_baseline(
    words: list[str], order: dict[str, list[str]], baseline: Any, levels: tuple[Any, ...]
) -> None:
    found = make_design(sweep(RESNET, *words, seeds="0"), order=order)
    assert [factor.levels for factor in found.factors] == [levels]
    assert list(found.baseline.values()) == [baseline]


@pytest.mark.parametrize(
    ("baseline", "against"),
    [
        (["norm=gn"], {"norm": "gn"}),
        (["data.batch_size=4"], {"data.batch_size": 4}),
        (["optimizer.lr=1e-1"], {"optimizer.lr": 0.1}),
        (["norm=bn", "optimizer.lr=0.010"], {"norm": "bn", "optimizer.lr": 0.01}),
    ],
)
def test_a_baseline_says_what_is_compared(baseline: list[str], against: dict[str, Any]) -> None:
    found = make_design(
        sweep(RESNET, "norm=bn,gn", "data.batch_size=2,4", "optimizer.lr=0.1,0.01", seeds="0"), baseline
    )
    assert found.baseline == against
    assert set(found.compared) == set(against)
    assert len(found.pairs()) == 4 * len(against)


def test_what_a_baseline_names_is_a_factor_whatever_it_goes_along_with() -> None:
    made = each("norm=bn optimizer=adam", "norm=gn optimizer=sgd")
    (factor,) = make_design(made, ["optimizer=sgd"]).factors
    assert (factor.key, factor.follows["norm"]) == ("optimizer", {"adam": "bn", "sgd": "gn"})
    assert keys(make_design(made, ["optimizer=sgd", "norm=bn"])) == ["norm", "optimizer"]


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (["act=relu"], ["act does not vary", "norm, optimizer.lr"]),
        (["seed=0"], ["seed does not vary"]),
        (["norm=ln"], ["norm=ln", "bn, gn"]),
        (["optimizer.lr=1"], ["0.01, 0.1"]),
        (["norm"], ["key=value"]),
        (["norm=bn", "norm=gn"], ["one baseline"]),
    ],
)
def test_a_baseline_that_is_not_there_is_answered_with_what_is(baseline: list[str], words: list[str]) -> None:
    made = sweep(RESNET, "norm=bn,gn", "optimizer.lr=0.1,0.01", seeds="0")
    with pytest.raises(UserError) as error:
        make_design(made, baseline)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_runs_of_an_older_version_had_what_is_now_the_default() -> None:
    made = each("norm=bn,gn")
    for config in made[::2]:
        config["trainer"] = {key: value for key, value in config["trainer"].items() if key != "self_adversarial"}
    assert keys(make_design(made)) == ["norm"]


def test_entries_that_are_not_installed_any_more_are_levels_still() -> None:
    made = each("norm=bn,gn", "norm=ln")
    for config in made:
        if config["norm"]["name"] == "ln":
            config["norm"] = {"name": "gone", "strength": 2}
    assert make_design(made).factors[0].levels == ("bn", "gn", "gone")


def _repeated(made: Sequence[configs.Config], seeds: int) -> list[configs.Config]:
    return [{**config, "seed": seed} for config in made for seed in range(seeds)]


def test_two_thousand_runs_are_sorted_out() -> None:
    arms = sweep(RESNET, "norm=bn,gn,ln,in,none", "data.batch_size=2,4,8,16", "optimizer.lr=0.1,0.01", seeds="0")
    found = make_design(_repeated(arms, 50))
    assert keys(found) == ["norm", "data.batch_size", "optimizer.lr"]
    assert sum(len(runs) for runs in found.arms.values()) == 2000
    assert len(found.pairs()) == 4 * 4 * 2


def test_a_search_with_rates_of_all_kinds_is_sorted_out() -> None:
    draw, base = random.Random(0), {name: configs.compose([RESNET, f"norm={name}"]) for name in ("bn", "gn")}
    made = []
    for _ in range(2000):
        config = base[draw.choice(("bn", "gn"))]
        own = {"lr": draw.random(), "weight_decay": draw.random()}
        made.append({**config, "optimizer": {**config["optimizer"], **own}})
    found = make_design(made)
    assert keys(found) == ["norm", "optimizer.lr"]
    assert list(found.factors[1].follows) == ["optimizer.weight_decay"]
    assert found.missing == []
