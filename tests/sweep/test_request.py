import pytest

from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.sweep.plan import plan
from dlzoo.sweep.request import SweepRequest, parse_comparison, parse_sweep


def settings(asked: SweepRequest) -> list[str]:
    return [",".join(word for word in run.overrides if "seed" not in word) for run in plan(asked).runs]


def test_a_comparison_is_base_and_arms_and_seeds():
    asked = parse_comparison(["norm=bn,gn", "base=model=resnet20 data.batch_size=4", "seeds=3"])
    found = plan(asked)
    assert len(found.runs) == 6
    assert {run.config["data"]["batch_size"] for run in found.runs} == {4}
    assert found.folder.name == "compare-norm-seed" or found.folder.name == "compare-norm"
    assert {run.path.name for run in found.runs} == {
        f"norm={norm},seed={seed}" for norm in ("bn", "gn") for seed in range(3)
    }


def test_eight_seeds_unless_one_says_so():
    assert len(plan(parse_comparison(["norm=bn,gn"])).runs) == 16
    assert len(plan(parse_comparison(["norm=bn,gn", "seed=3,4"])).runs) == 4


def test_settings_in_quotes_vary_together():
    asked = parse_comparison(["model=resnet20 model.width=8", "model=resnet32 model.width=6", "norm=bn,gn", "seeds=1"])
    assert settings(asked) == [
        "model=resnet20,model.width=8,norm=bn",
        "model=resnet20,model.width=8,norm=gn",
        "model=resnet32,model.width=6,norm=bn",
        "model=resnet32,model.width=6,norm=gn",
    ]
    assert plan(asked).varying == ["model", "model.width", "norm"]


def test_an_arm_of_one_setting_beside_others_of_several():
    asked = parse_comparison(["drop=none", "drop=dropout drop.rate=0.5", "norm=gn", "seeds=1"])
    assert settings(asked) == ["drop=none,norm=gn", "drop=dropout,drop.rate=0.5,norm=gn"]


def test_what_is_typed_replaces_what_an_experiment_says():
    words = ["experiment=bn_vs_gn", "scale=tiny", "norm=in", "data=digits", "seeds=1", "trainer.max_epochs=1"]
    asked = parse_comparison(words)
    found = plan(asked)
    assert {run.config["norm"]["name"] for run in found.runs} == {"in"}
    assert {run.config["trainer"]["max_epochs"] for run in found.runs} == {1}
    assert found.folder.name == "bn_vs_gn_tiny"
    assert asked.baseline == [], "bn is not there to be held against"
    assert asked.question and asked.question.endswith("?")
    assert "table 2" in (asked.expected or "")


def test_a_margin_is_read_as_other_numbers_are():
    assert parse_comparison(["norm=bn,gn", "margin=1e-2"]).margin == 0.01


def test_a_single_run_is_no_comparison():
    with pytest.raises(UserError, match="dlzoo compare experiment=bn_vs_gn"):
        compose(["experiment=bn_vs_gn"])


def test_a_sweep_takes_an_experiment_that_compares():
    assert len(plan(parse_sweep(["experiment=bn_vs_gn", "scale=tiny"])).runs) == 80
    assert parse_sweep(["norm=bn,gn"]).words == ["norm=bn,gn"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experiment=bn_vs_gn", "scale=tyni"], "available: tiny"),
        (["norm=bn,gn", "scale=tiny"], "experiment=NAME"),
        (["norm=bn,gn", "seeds=0"], "seeds must be an integer >= 1, not 0"),
        (["norm=bn,gn", "seeds=x"], "seeds must be an integer >= 1"),
        (["norm=bn,gn", "seeds=2", "seeds=3"], "twice"),
        (["norm=bn,gn", "margin=-1"], "margin must be a number >= 0"),
        (["norm=bn,gn", "base=resnet20"], "resnet20"),
        (["norm=bn,gn", "base='model=mlp"], "cannot be read"),
        (["experiment=bn_vs_gn,attention"], "only one experiment"),
        (["experiment=bn_vs_gn", "experiment=bn_vs_gn"], "experiment twice"),
    ],
)
def test_what_cannot_be_read_is_one_line(words, said):
    with pytest.raises(UserError, match=said) as error:
        parse_comparison(words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no settings to compare"),
        (["norm=bn,gn", "norm=ln"], "the command sets norm twice"),
        (["norm=bn,gn", "base=norm=gn"], "both set norm"),
        (["norm=bn,gn", "base=model=mlp model=linear"], "base sets model twice"),
        (["model=mlp norm=bn", "norm=bn model=mlp"], "two arms are the same"),
        (["model=mlp seed=1", "model=mlp seed=2", "seeds=2"], "both set the seeds"),
        (["norm=bn,gn", "seed=1,2", "seeds=2"], "both set the seeds"),
        (["norm=bn,gn", "metric=test/acuracy"], "did you mean"),
    ],
)
def test_what_would_cancel_itself_is_refused(words, said):
    with pytest.raises(UserError, match=said):
        parse_comparison(words)
