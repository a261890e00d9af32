"""The written-down comparisons: every file under conf/experiment, and how a line names and changes one."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from dlzoo import config as configs
from dlzoo.builder.execute import begin
from dlzoo.builder.profile import count_params_and_macs
from dlzoo.cli import main
from dlzoo.comparison.factors import make_design
from dlzoo.comparison.fairness import MILD, findings
from dlzoo.config import Config, compose
from dlzoo.core.errors import UserError
from dlzoo.runs.reuse import source_runs
from dlzoo.sweep.experiment import named_comparison, read_head
from dlzoo.sweep.plan import SweepPlan, plan
from dlzoo.sweep.request import SweepRequest, parse_comparison

EVERY = configs.options("experiment")
COMPARING = [name for name in EVERY if named_comparison([f"experiment={name}"])]
SCALES: list[list[str]] = [[], ["scale=tiny"]]
CIFAR = {"num_classes": 10, "in_channels": 3, "image_size": 32}
EMBEDDED = ("digits", "shapes", "box_pairs")
DIGITS = {"num_classes": 10, "in_channels": 1, "image_size": 8}


@cache
def planned(*words: str) -> SweepPlan:
    return plan(parse_comparison(words))


def arms(found: SweepPlan) -> list[Config]:
    """The configs of the first seed."""
    return [run.config for run in found.runs if run.config["seed"] == found.runs[0].config["seed"]]


def commands(name: str) -> list[list[str]]:
    """The lines of a head that one can type, without `python train.py`."""
    lines = [line.removeprefix("Command:").strip() for line in configs.head_comment("experiment", name)]
    return [shlex.split(line)[2:] for line in lines if line.startswith("python train.py ")]


@pytest.mark.parametrize("name", EVERY)
def test_the_head_says_what_it_costs_what_is_known_and_how_to_type_it(name: str) -> None:
    known = read_head(name)
    assert {"command", "cost", "expected"} <= set(known)
    assert name not in COMPARING or re.search(r"Tiny: .* minutes on two cores", known["cost"])
    assert "arXiv:" in known["expected"] or re.search(r"\b(19|20)\d\d\b", known["expected"])  # it has a source
    typed = commands(name)
    assert all(f"experiment={name}" in words for words in typed)
    assert compose(typed[0], in_sweep=True)["trainer"]["accelerator"] == "gpu"
    if name in COMPARING:
        assert known["question"].endswith("?")
        assert [("scale=tiny" in words) for words in typed] == [False, True]


@pytest.mark.parametrize("name", COMPARING)
def test_a_comparison_is_what_its_head_says_and_its_tiny_form_trains(name: str) -> None:
    """One test a file: its plans take a second."""
    full, tiny = (planned(f"experiment={name}", *scale) for scale in SCALES)
    said = re.findall(r"(\d+) trainings of (\d+) epochs", read_head(name)["cost"])
    assert said == [trainings_and_epochs(full), trainings_and_epochs(tiny)]
    baseline = parse_comparison([f"experiment={name}"]).baseline
    check_that_arms_differ_in_what_is_compared(full, baseline)
    check_that_arms_differ_in_what_is_compared(tiny, baseline)
    assert len(arms(tiny)) == len(arms(full))
    assert tiny.folder != full.folder
    for config in arms(tiny):
        check_that_it_suits_two_cores(config)
    check_that_it_trains(tiny, parse_comparison([f"experiment={name}"]).metric)


def trainings_and_epochs(found: SweepPlan) -> tuple[str, str]:
    trained = len(found.runs) - len(source_runs((run.path, run.config) for run in found.runs))
    return str(trained), str(found.runs[0].config["trainer"]["max_epochs"])


def check_that_arms_differ_in_what_is_compared(found: SweepPlan, baseline: list[str]) -> None:
    """And have equal budgets."""
    assert len(arms(found)) >= 2
    assert len(found.runs) == 8 * len(arms(found))
    assert {run.config["seed"] for run in found.runs} == set(range(8))
    assert len({run.config["trainer"]["max_epochs"] for run in found.runs}) == 1
    runs = [run.config for run in found.runs]
    made = make_design(runs, baseline)
    assert made.pairs()
    assert {finding.kind for finding in findings(runs, made)} <= MILD


def check_that_it_suits_two_cores(config: Config) -> None:
    assert config["trainer"]["threads"] == 1
    assert config["trainer"]["accelerator"] == "auto"
    data = config["data"]
    small = {"shapes": data.get("train", 0) <= 1000, "box_pairs": data.get("points", 0) <= 100, "digits": True}
    assert small.get(data["name"]) or data["limit"] <= 2000


def check_that_it_trains(found: SweepPlan, metric: str | None) -> None:
    short = ["data.limit=200", "trainer.max_epochs=1", "trainer.limit_batches=1", "trainer.accelerator=cpu"]
    run = found.runs[len(arms(found)) - 1]
    here = [] if run.config["data"]["name"] in EMBEDDED else ["data=digits"]  # nothing is downloaded
    here += ["data.train=40", "data.test=10"] if run.config["data"]["name"] == "shapes" else []
    config = compose([*run.overrides, *here, *short], in_sweep=True)
    value = begin(config, Console(quiet=True)).read()["metrics"][metric or "test/accuracy"]
    assert 0 <= value <= (100 if metric == "test/mae" else 1)


@pytest.mark.parametrize("name", [name for name in COMPARING if "size" in read_head(name)])
def test_the_sizes_in_a_head_are_those_of_its_networks(name: str) -> None:
    said = read_head(name)["size"]
    for config in arms(planned(f"experiment={name}")):
        assert f"{count_params_and_macs(config, CIFAR, 32)[0]:,} " in said
    if "tiny" in said:
        for config in arms(planned(f"experiment={name}", "scale=tiny")):
            assert f"{count_params_and_macs(config, DIGITS, 32)[0]:,} " in said


@pytest.mark.parametrize(("scale", "wiring"), [([], CIFAR), (["scale=tiny"], DIGITS)], ids=["full", "tiny"])
def test_resnext_and_resnet_are_of_one_size(scale: list[str], wiring: dict[str, int]) -> None:
    sizes = [
        count_params_and_macs(config, wiring, 32) for config in arms(planned("experiment=resnet_vs_resnext", *scale))
    ]
    assert sizes[0][0] == pytest.approx(sizes[1][0], rel=0.02)
    assert sizes[0][1] == pytest.approx(sizes[1][1], rel=0.06)


def test_a_standard_network_costs_what_a_wider_separable_one_does() -> None:
    found = {
        (each["conv"]["name"], each["model"]["width"]): each for each in arms(planned("experiment=depthwise_cost"))
    }
    narrow, wide = (count_params_and_macs(found[key], CIFAR, 32) for key in (("standard", 6), ("separable", 16)))
    assert narrow == pytest.approx(wide, rel=0.1)


def test_words_of_the_line_replace_those_of_the_file() -> None:
    usual = planned("experiment=bn_vs_gn", "scale=tiny")
    found = planned("experiment=bn_vs_gn", "scale=tiny", "norm=in", "seeds=2", "data=digits", "model.width=4")
    assert {each["norm"]["name"] for each in arms(found)} == {"in"}
    assert {each["data"]["name"] for each in arms(found)} == {"digits"}
    assert {each["model"]["width"] for each in arms(found)} == {4}
    assert len(found.runs) == 2 * 5  # batch sizes are as they were
    assert arms(found)[0]["trainer"] == arms(usual)[0]["trainer"]  # nobody replaced it
    assert {run.config["seed"] for run in planned("experiment=bn_vs_gn", "seed=3,5").runs} == {3, 5}


def test_what_the_report_looks_at_is_the_file_s_unless_the_line_says_it() -> None:
    usual = parse_comparison(["experiment=focal_vs_ce"])
    assert (usual.baseline, usual.metric, usual.margin) == (["loss=cross_entropy"], "test/f1_macro", 0.01)
    assert usual.question == read_head("focal_vs_ce")["question"]
    said = parse_comparison(["experiment=focal_vs_ce", "baseline=loss=focal", "metric=test/loss", "margin=0"])
    assert (said.baseline, said.metric, said.margin) == (["loss=focal"], "test/loss", 0)
    assert parse_comparison(["experiment=bn_vs_gn", "norm=gn,in"]).baseline == []  # bn is in no run any more


def chosen(found: SweepPlan, section: str, *keys: str) -> list[tuple]:
    return [tuple(each[section].get(key) for key in keys) for each in arms(found)]


def test_arms_of_the_line_replace_those_of_the_file_and_what_it_varies() -> None:
    lines = ["optimizer=sgd optimizer.lr=1", "optimizer=lion optimizer.lr=0.001"]
    found = planned("experiment=optimizers", *lines)
    assert chosen(found, "optimizer", "name", "lr") == [("sgd", 1.0), ("lion", 0.001)]
    found = planned("experiment=dropout_bn_order", "drop=spatial drop.rate=0.2", "drop=none drop.place=after_norm")
    assert {each["drop"]["name"] for each in arms(found)} == {"spatial", "none"}


def test_another_choice_replaces_the_arms_of_the_file_and_a_setting_goes_into_each() -> None:
    found = planned("experiment=focal_vs_ce", "loss=cross_entropy,hinge")
    assert [name for (name,) in chosen(found, "loss", "name")] == ["cross_entropy", "hinge"]
    found = planned("experiment=dropout_bn_order", "act=mish")
    assert len(arms(found)) == 5
    found = planned("experiment=resnet_vs_resnext", "scale=tiny", "model.width=32")
    assert chosen(found, "model", "name", "width") == [("resnet50", 32), ("resnext50_32x4d", 32)]


def test_a_comparison_that_nobody_wrote_down_needs_no_experiment() -> None:
    asked = parse_comparison(["norm=bn,gn", "base=model=resnet20 data.batch_size=4", "seeds=2"])
    assert (asked.name, asked.question, asked.metric) == (None, None, None)
    assert len(found := plan(asked).runs) == 4
    assert {run.config["data"]["batch_size"] for run in found} == {4}
    assert all("batch_size" not in run.path.name for run in found)  # of all runs: no address has to say it


def test_a_sweep_of_an_experiment_is_the_comparison() -> None:
    from dlzoo.sweep.request import parse_sweep

    asked = parse_sweep(["experiment=bn_vs_gn", "scale=tiny"])
    assert [run.path for run in plan(asked).runs] == [run.path for run in planned(*asked.typed[3:]).runs]
    assert asked.typed[:3] == ["python", "train.py", "-m"]
    assert parse_sweep(["norm=bn,gn"]) == SweepRequest(["norm=bn,gn"], ["python", "train.py", "-m", "norm=bn,gn"])


WRONG = {
    "experiment=bn_vs_gn scale=tony": "no scale=tony; did you mean 'tiny'",
    "norm=bn,gn scale=tiny": "needs an experiment that is a comparison",
    "experiment=resnet20_cifar10 scale=tiny": "needs an experiment that is a comparison",
    "experiment=bn_vs_gm": "unknown experiment 'bn_vs_gm'; did you mean experiment=bn_vs_gn",
    "experiment=bn_vs_gn seeds=0": "seeds must be an integer >= 1, not 0",
    "experiment=bn_vs_gn seeds=2.5": "seeds must be an integer >= 1",
    "experiment=bn_vs_gn seeds=2 seeds=3": "seeds is set twice",
    "experiment=bn_vs_gn margin=-1": "margin must be a number >= 0",
    "experiment=bn_vs_gn norm=bm": "unknown norm 'bm'",
    "norm=bn,gn base=tiny": "'tiny' is not a setting",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_line_that_cannot_be_is_one_line_that_says_why(line: str) -> None:
    with pytest.raises(UserError, match=re.escape(WRONG[line])) as raised:
        planned(*line.split())
    assert "\n" not in str(raised.value)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/, to which a test adds an experiment."""
    folder = tmp_path / "conf"
    shutil.copytree(configs.conf_dir(), folder)
    for module in ("", ".defaults", ".compose", ".conf_files", ".with_hydra"):
        monkeypatch.setattr(sys.modules[f"dlzoo.config{module}"], "conf_dir", lambda: folder)
    return folder / "experiment"


MALFORMED = {
    "comparison: [norm=bn]": "comparison must be a section with vary, arms",
    "comparison: {very: {norm: [bn, gn]}}": "comparison.very is unknown; did you mean 'vary'",
    "comparison: {vary: [norm]}": "comparison.vary cannot be ['norm']",
    "comparison: {vary: {norm: [bn, gm]}}": "unknown norm 'gm'",
    "comparison: {arms: [norm]}": "'norm' is not a setting",
    "comparison: {arms: [3]}": "comparison.arms cannot be 3",
    "comparison: {arms: norm=bn}": "comparison.arms cannot be 'norm=bn'",
    "comparison: {seeds: many}": "comparison.seeds cannot be 'many'",
    "comparison: {seeds: true}": "comparison.seeds cannot be True",
    "comparison: {scale: {tiny: 3}}": "comparison.scale.tiny cannot be 3",
    "comparison: {scale: {tiny: [small]}}": "comparison.scale.tiny: 'small' is not a setting",
    "comparison: {baseline: [norm=bn]}": "comparison.baseline cannot be ['norm=bn']",
    "comparison: {margin: some}": "comparison.margin cannot be 'some'",
    "comparison: {vary: {norm: [bn, gn]}": "not valid YAML (line 3: expected",
}


@pytest.mark.parametrize("section", MALFORMED)
def test_a_section_that_is_no_comparison_is_refused_with_its_file_or_key(section: str, conf: Path) -> None:
    (conf / "mine.yaml").write_text(f"# @package _global_\n{section}\n")
    with pytest.raises(UserError, match=re.escape(MALFORMED[section])) as raised:
        plan(parse_comparison(["experiment=mine"]))
    assert "mine" in str(raised.value)


def test_a_file_of_one_s_own_is_an_experiment(conf: Path) -> None:
    (conf / "mine.yaml").write_text(
        "# @package _global_\n"
        "# Question: Which one,\n"
        "#           and why?\n"
        "# Expected: nothing: nobody knows\n"
        "comparison:\n"
        "  arms: ['model=mlp', 'model=resnet20 norm=gn']\n"
        "  vary: {data.limit: 200, optimizer.lr: [0.1, 1e-2]}\n"
        "  seeds: 3\n"
        "  scale: {small: [model=linear, 'model=mlp model.hidden=[8]', trainer.max_epochs=1]}\n"
        "trainer:\n"
        "  max_epochs: 2\n"
    )
    asked = parse_comparison(["experiment=mine"])
    assert (asked.question, asked.expected) == ("Which one, and why?", "nothing: nobody knows")
    found = plan(asked)
    assert chosen(found, "optimizer", "lr") == [(0.1,), (0.01,)] * 2
    assert chosen(found, "trainer", "max_epochs") == [(2,)] * 4
    assert [(each["model"]["name"], each["norm"]["name"]) for each in arms(found)][1:3] == [
        ("mlp", "none"),
        ("resnet20", "gn"),
    ]
    assert len(found.runs) == 12
    small = plan(parse_comparison(["experiment=mine", "scale=small"]))
    assert chosen(small, "model", "name", "hidden") == [("mlp", [8])] * 2
    assert chosen(small, "trainer", "max_epochs") == [(1,)] * 2
    assert chosen(small, "data", "limit") == [(200,)] * 2


@pytest.mark.parametrize("content", ["5\n", "# @package _global_\ndefaults: 5\n", "# @package _global_\na: &a [*a]\n"])
def test_a_file_that_is_no_config_is_one_line(content: str, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf / "odd.yaml").write_text(content)
    assert main(["train", "experiment=odd", "model=linear"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dlzoo: ")


def test_a_file_without_a_comment_is_listed(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf / "bare.yaml").write_text("optimizer:\n  lr: 0.1\n")
    assert main(["list", "experiment"]) == 0
    printed = capsys.readouterr().out
    assert "bn_vs_gn" in printed and "bare" in printed
