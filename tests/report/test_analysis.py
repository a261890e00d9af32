import json
import re
import shlex
from pathlib import Path

import pytest
from scipy import stats

from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.report.analysis import analyse
from dlzoo.report.html import page
from dlzoo.report.json_file import as_json
from dlzoo.report.report import summary, write
from dlzoo.runs import sweep_file
from dlzoo.runs.differences import flatten
from dlzoo.runs.sweep_file import SweepFile
from tests.fake_runs import CLASSES, write_run, write_sweep
from tests.small import SMALL, train

NORMS = [["norm=bn"], ["norm=gn"]]
SEEDS = range(8)


def accuracy(config, seed):
    return 0.7 + 0.01 * (seed % 3) + (0.05 + 0.002 * seed) * (config["norm"]["name"] == "gn")


def test_one_factor_over_seeds(tmp_path):
    write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    content = analyse(tmp_path)
    assert [(each.key, each.levels, each.baseline) for each in content.factors] == [("norm", ("bn", "gn"), "bn")]
    assert content.seeds == list(SEEDS)
    bn, gn = content.cells
    assert bn.is_baseline and not gn.is_baseline
    assert bn.values == {seed: 0.7 + 0.01 * (seed % 3) for seed in SEEDS}
    (found,) = content.comparisons
    differences = [0.05 + 0.002 * seed for seed in SEEDS]
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    assert found.effect.difference == pytest.approx(0.057)
    assert (found.effect.interval.low, found.effect.interval.high) == pytest.approx((low, high))
    assert found.effect.p == found.effect.adjusted == 2 / 2**8
    assert (found.verdict, found.effect.paired) == ("better", True)
    assert "norm=gn is better than norm=bn" in content.answer[0]
    assert "0.0078" in content.answer[0]
    assert content.margin == 0.01
    assert [each.name for each in found.per_class] == CLASSES


def test_networks_that_learned_nothing_are_named_first(tmp_path):
    nothing = {"learned_nothing": "the network learned nothing: it predicts one class for all 300 test samples"}
    write_sweep(tmp_path, NORMS[:1], SEEDS, accuracy)
    usual = analyse(tmp_path).answer
    write_sweep(tmp_path, NORMS[1:], SEEDS[:3], accuracy, result_notes={"lonely_best": "a lonely peak"})
    assert not analyse(tmp_path).answer[0].startswith("These runs")
    for run in write_sweep(tmp_path, NORMS[1:], SEEDS[3:5], accuracy):
        run.update(result_notes=nothing)
    first, *others = analyse(tmp_path).answer
    assert first == "These runs learned nothing (no better than chance on the test split): norm=gn (2 of 5 runs)."
    assert others and others != usual


def test_a_lower_loss_is_better(tmp_path):
    write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    content = analyse(tmp_path, metric="loss", margin=0)
    assert content.metric.key == "test/loss"
    assert content.comparisons[0].effect.difference < 0
    assert content.comparisons[0].verdict == "better"
    assert content.others["test/accuracy"].keys() == {"norm=bn", "norm=gn"}


def test_the_best_seed_is_never_what_is_told(tmp_path):
    write_sweep(tmp_path, NORMS, SEEDS, lambda config, seed: 0.987654 if seed == 3 else 0.5 + seed / 1000)
    write(tmp_path)
    for kind in ("md", "tex"):
        assert "0.9877" not in (tmp_path / "report" / f"report.{kind}").read_text()


def test_seeds_that_are_not_the_same_are_said_not_to_be(tmp_path):
    write_sweep(tmp_path, [["norm=bn"]], range(8), accuracy)
    write_sweep(tmp_path, [["norm=gn"]], range(8, 16), accuracy)
    content = analyse(tmp_path)
    assert not content.comparisons[0].effect.paired
    assert any("unpaired" in sentence for sentence in content.power)
    assert "unpaired" in content.answer[0]


def test_few_seeds_are_said_to_be_few(tmp_path):
    write_sweep(tmp_path, NORMS, range(3), accuracy)
    content = analyse(tmp_path)
    assert "0.25" in content.power[0]
    assert "6 seeds" in content.power[1]
    assert content.comparisons[0].verdict == "undecided"
    assert content.comparisons[0].seeds_needed >= 6


def test_one_seed_and_one_arm(tmp_path):
    write_sweep(tmp_path / "seed", NORMS, [0], accuracy)
    content = analyse(tmp_path / "seed")
    assert content.cells[0].interval is None
    assert "variation cannot be estimated" in content.power[0]
    write_sweep(tmp_path / "arm", [["norm=bn"]], SEEDS, accuracy)
    content = analyse(tmp_path / "arm")
    assert content.comparisons == []
    assert "nothing to compare" in content.answer[-1]
    for folder in ("seed", "arm"):
        write(tmp_path / folder)
        assert (tmp_path / folder / "report" / "report.html").stat().st_size > 3000


@pytest.mark.parametrize("key", ["trainer.select", "trainer.early_stopping", "data.val_fraction", "optimizer.decay"])
def test_runs_of_an_older_dlzoo_have_the_defaults_of_what_they_lack(tmp_path, key):
    arms = [["data.batch_size=32"], ["data.batch_size=64"]]
    section, name = key.split(".")
    for run in write_sweep(tmp_path, arms, range(3), lambda config, seed: 0.5 + seed / 100):
        record = run.read()
        del record["config"][section][name]
        run.state_file.write_text(json.dumps(record))
    assert [factor.key for factor in analyse(tmp_path).factors] == ["data.batch_size"]


def test_tasks_and_losses_that_differ_are_spoken_of(tmp_path):
    write_sweep(tmp_path / "task", [["data=digits"]], range(2), lambda config, seed: 0.5)
    write_sweep(tmp_path / "task", [["data=wine"]], range(2), lambda config, seed: 0.6, task="regress")
    found = analyse(tmp_path / "task", metric="loss").findings
    assert any("different tasks" in finding.text for finding in found)
    write_sweep(tmp_path / "loss", [["loss=cross_entropy"], ["loss=focal"]], range(2), lambda config, seed: 0.5)
    assert any("own loss" in finding.text for finding in analyse(tmp_path / "loss", metric="loss").findings)
    assert not any("own loss" in finding.text for finding in analyse(tmp_path / "loss").findings)


@pytest.mark.parametrize("section", [None, {}, {"name": ["bn"]}])
def test_a_choice_that_is_none_is_damage(tmp_path, section):
    runs = write_sweep(tmp_path, NORMS, range(3), accuracy)
    record = json.loads(runs[0].state_file.read_text())
    record["config"]["norm"] = section
    runs[0].state_file.write_text(json.dumps(record))
    assert analyse(tmp_path).states["damaged"] == 1


def test_a_report_is_not_written_into_a_run(tmp_path):
    runs = write_sweep(tmp_path, NORMS, [0], accuracy)
    with pytest.raises(UserError, match="is a run"):
        write(tmp_path, out=runs[0].path)


def test_a_sweep_that_goes_on_and_runs_that_broke(tmp_path):
    runs = write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    runs[1].update(state="failed", error="the loss became NaN")
    runs[2].state_file.write_text('{"state": "fini')
    runs[3].update(state="created", metrics={})
    runs[4].update(metrics={"test/accuracy": None})
    (runs[5].path / "config.yaml").unlink()
    runs[6].metrics_file.write_text('{"step": 1, "ep')
    runs[7].update(by_class={"recall": [1.0]}, versions=None, params=None)
    assert analyse(tmp_path).states["missing"] == 1
    content = analyse(tmp_path)
    states = {each.label: (each.state, each.error) for each in content.unfinished}
    assert states["norm=bn seed=1"] == ("failed", "the loss became NaN")
    assert states["norm=bn,seed=2"][0] == "damaged"
    assert states["norm=bn seed=3"][0] == "waiting"
    assert states["norm=bn seed=4"][0] == "finished" and "not a finite number" in states["norm=bn seed=4"][1]
    assert states["norm=bn seed=5"][0] == "missing"
    assert content.cells[0].values.keys() == {0, 6, 7}
    write(tmp_path)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "the loss became NaN" in page


@pytest.mark.parametrize(
    "record",
    [
        {"config": {}},
        {"config": {"seed": 0}},
        {"config": [1]},
        {"metrics": 3},
        {"data_sizes": None, "versions": 3},
        {"by_class": [1]},
        {"classes": None, "by_class": None, "data_fingerprint": None, "params": None},
        {"monitor": None},
        {"error": 3},
        {"state": None},
        {"monitor": ["accuracy"]},
        {"metrics": {"test/accuracy": 10**400}},
        {"metrics": {"test/accuracy": True}},
        {"wall_seconds": 10**400, "ranks": [1]},
        {"classes": ["cat", "cat", "dog"]},
    ],
)
def test_a_record_that_is_odd_breaks_no_report(tmp_path, record):
    runs = write_sweep(tmp_path, NORMS, range(3), accuracy)
    runs[2].state_file.write_text(json.dumps(json.loads(runs[2].state_file.read_text()) | record))
    content = analyse(tmp_path)
    assert {0, 1} <= content.cells[0].values.keys()
    assert sum(content.states.values()) == 6
    assert json.dumps(as_json(content), allow_nan=False)
    assert page(content, {})


@pytest.mark.parametrize("content", ["3", "[]", '{"order": 3}', '{"metric": 3}', '{"lines": [3]}', '{"margin": "x"}'])
def test_a_sweep_file_that_is_odd_says_nothing(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content)
    assert sweep_file.read(tmp_path) == SweepFile()


def test_a_margin_of_none_replaces_an_earlier_one(tmp_path):
    sweep_file.write(tmp_path, SweepFile(margin=0.01))
    sweep_file.write(tmp_path, SweepFile(margin=0.0))
    assert sweep_file.read(tmp_path).margin == 0.0


def test_runs_that_failed_in_one_arm_are_spoken_of(tmp_path):
    runs = write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    for run in runs[8:11]:
        run.update(state="failed", error="the loss is lost")
    content = analyse(tmp_path)
    assert any("3 of 8" in finding.text for finding in content.findings)
    assert content.states == {"finished": 13, "failed": 3}


def test_an_arm_that_lags_behind_does_not_speak_for_the_others(tmp_path):
    write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    write_sweep(tmp_path, [["norm=ln"]], [0], accuracy)
    content = analyse(tmp_path)
    assert "8 paired seeds" in content.power[0] and "0.0078" in content.power[0]
    assert any("1 and 8 unpaired seeds (ln)" in sentence for sentence in content.power)
    assert content.states == {"finished": 17, "missing": 7}


def test_arms_that_are_all_too_few_are_said_to_be_whichever_comes_first(tmp_path):
    write_sweep(tmp_path, NORMS, range(2), accuracy)
    write_sweep(tmp_path, [["norm=in"], ["norm=ln"]], [0], accuracy)
    (finding,) = [each for each in analyse(tmp_path).findings if each.kind == "seeds"]
    assert "No difference can be significant" in finding.text


def test_numbers_that_are_not_of_the_test_split_are_said_to_be(tmp_path):
    write_sweep(tmp_path, NORMS, range(3), accuracy)
    assert any(finding.kind == "selection" for finding in analyse(tmp_path, metric="val/accuracy").findings)
    assert not any(finding.kind == "selection" for finding in analyse(tmp_path).findings)


def test_a_baseline_that_is_still_on_its_way(tmp_path):
    runs = write_sweep(tmp_path, [*NORMS, ["norm=ln"]], range(3), accuracy)
    for run in runs[:3]:
        run.update(state="created")
    assert "no run of the baseline norm=bn is finished" in analyse(tmp_path).answer[-1]


def test_a_stray_run_that_failed_does_not_decide_what_varies(tmp_path):
    write_sweep(tmp_path, [["optimizer.lr=0.01"], ["optimizer.lr=0.1"]], range(2), lambda config, seed: 0.5 + seed / 9)
    (stray,) = write_sweep(tmp_path, [["optimizer=sgd", "optimizer.lr=1e9"]], [0], lambda config, seed: 0.0)
    stray.update(state="failed", error="the loss is lost", metrics=None)
    content = analyse(tmp_path)
    assert [(each.factor, each.level) for each in content.comparisons] == [("optimizer.lr", "0.01")]
    assert content.unfinished[-1].error == "the loss is lost"


def test_what_was_planned_is_held_against_what_is_asked_now(tmp_path):
    write_sweep(tmp_path, NORMS, range(2), accuracy)
    sweep_file.write(tmp_path, SweepFile(margin=0.02, metric="accuracy"))
    assert not any(finding.kind == "plan" for finding in analyse(tmp_path).findings)
    (finding,) = [each for each in analyse(tmp_path, margin=0.3, metric="loss").findings if each.kind == "plan"]
    assert "margin 0.02, not 0.3" in finding.text and "accuracy, not test/loss" in finding.text


def test_runs_that_are_to_come_make_the_numbers_provisional(tmp_path):
    runs = write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    runs[0].update(state="created", metrics=None)
    assert any(
        "1 of 16 runs" in finding.text and "provisional" in finding.text for finding in analyse(tmp_path).findings
    )


def test_the_same_run_twice_counts_once(tmp_path):
    write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    later = write_run(tmp_path / "again", compose(["norm=gn"]), 0.5, finished="2026-11-23T00:00:00+00:00")
    content = analyse(tmp_path)
    assert content.cells[1].values[0] == 0.5
    (other,) = content.unfinished
    assert other.label == "norm=gn seed=0"
    assert later.path.name in other.error


def test_the_sweep_says_how_to_look_at_its_runs(tmp_path):
    write_sweep(tmp_path, NORMS, SEEDS, accuracy)
    order, lines = {"norm": ["gn", "bn"]}, ["dlzoo compare norm=gn,bn"]
    asked = SweepFile(lines, [], order, ["norm=gn"], None, 0.2, "Is it so?", "No.")
    sweep_file.write(tmp_path, asked)
    content = analyse(tmp_path)
    assert content.factors[0].levels == ("gn", "bn")
    assert content.factors[0].baseline == "gn"
    assert content.comparisons[0].verdict == "equivalent"
    assert (content.question, content.expected) == ("Is it so?", "No.")
    assert content.commands[0] == "dlzoo compare norm=gn,bn"
    assert analyse(tmp_path, baseline="norm=bn", margin=0.0).comparisons[0].verdict == "better"
    (tmp_path / "sweep.json").write_text("{")
    assert analyse(tmp_path).factors[0].baseline == "bn"


def test_a_later_sweep_of_the_folder_adds_to_what_was_asked(tmp_path):
    first = SweepFile(["one"], [], {"norm": ["gn", "bn"]}, ["norm=gn"], None, 0.2, "Is it so?", None)
    sweep_file.write(tmp_path, first)
    sweep_file.write(tmp_path, SweepFile(["two"], [], {"norm": ["in"], "act": ["relu"]}))
    found = sweep_file.read(tmp_path)
    assert found.lines == ["one", "two"]
    assert found.order == {"norm": ["gn", "bn", "in"], "act": ["relu"]}
    assert (found.baseline, found.margin, found.question) == (["norm=gn"], 0.2, "Is it so?")


def test_commands_of_runs_that_no_sweep_made_compose_to_their_configs(tmp_path):
    arms = [["model=googlenet", "norm=gn", "trainer.max_epochs=3"], ["data=wine", "optimizer=adam", "optimizer.lr=0.1"]]
    runs = write_sweep(tmp_path, arms, [0, 4], lambda config, seed: 0.5)
    *lines, last = analyse(tmp_path).commands
    assert last == f"dlzoo report {tmp_path}_again"
    expected = [flatten(run.read()["config"]) for run in runs]
    for line in lines:
        assert line.startswith("python train.py -m ") and line.endswith(f" sweep.dir={tmp_path}_again seed=0,4")
        words = shlex.split(line)[3:-2]
        assert flatten(compose([*words, "seed=4"])) in expected


def test_numbers_of_a_report_are_those_of_the_runs_and_of_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = [
        train(*SMALL, f"norm={norm}", f"seed={seed}", f"run_dir={tmp_path / norm}{seed}")
        for norm, seed in (("bn", 0), ("gn", 1))
    ]
    write(tmp_path)
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    for run in runs:
        config = json.loads((run.dir / "run.json").read_text())["config"]
        (cell,) = [each for each in found["cells"] if f"norm={config['norm']['name']}" in each["levels"]]
        board = EventAccumulator(str(run.dir), size_guidance={"scalars": 0}).Reload()
        value = cell["values"][str(config["seed"])]
        assert value == pytest.approx(board.Scalars("test/accuracy")[-1].value, abs=1e-7)
        assert value == run.metrics["test/accuracy"]
        assert len(cell["per_class"]) == 10
    assert [factor["key"] for factor in found["factors"]] == ["norm"]


def test_an_unknown_folder_is_refused_by_the_library_too(tmp_path):
    with pytest.raises(UserError, match="folder not found"):
        write(Path(tmp_path / "nowhere"))


def test_times_are_of_runs_that_had_the_machine_to_themselves(tmp_path):
    runs = write_sweep(tmp_path, NORMS, range(3), accuracy)
    assert [cell.seconds for cell in analyse(tmp_path).cells] == [None, None]  # of an older dlzoo: not known
    for run, others, seconds in zip(runs, (0.0, 0.04, 0.4, 0.3, None, 1.0), range(10, 70, 10), strict=True):
        run.update(others_busy=others, wall_seconds=float(seconds))
    bn, gn = analyse(tmp_path).cells
    assert (bn.seconds, gn.seconds) == (15.0, None)
    assert (bn.images_per_second, gn.images_per_second) == (500.0, None)


@pytest.mark.parametrize(("arms", "tabled"), [(7, False), (8, True)])
def test_more_than_six_comparisons_are_a_table_instead_of_sentences(tmp_path, arms, tabled, capsys):
    acts = ["relu", "elu", "gelu", "mish", "tanh", "sigmoid", "selu", "swish"][:arms]
    write_sweep(tmp_path, [[f"act={act}"] for act in acts], range(2), lambda config, seed: 0.5 + seed / 50)
    content, path = write(tmp_path)
    assert len(content.answer) == (1 if tabled else 1 + 6)
    assert content.answer[0].startswith("By test accuracy, ") and len(content.answer[0]) < 160
    text = path.read_text().split("<body>")[1]
    assert (text.index('id="table-effects"') < text.index("<figure")) == tabled
    assert ("  swish against relu" in summary(content, path)) == tabled


def test_small_differences_are_a_table_below_the_cautions(tmp_path):
    def tiny(config, seed):
        return 0.5 + seed / 10 + 1e-9 * seed * (config["norm"]["name"] != "bn")

    write_sweep(tmp_path, [["norm=bn"], ["norm=gn"], ["norm=ln"], ["norm=in"]], range(3), tiny)
    content, path = write(tmp_path, margin="0")
    (noise,) = (finding for finding in content.findings if finding.kind == "noise")
    assert noise.text.endswith("in 3 of 3 comparisons")
    for text in (path.read_text(), path.with_suffix(".md").read_text()):
        assert "opposite sign" in text and "norm=ln against norm=bn" in text
        assert not re.search(r"\de-\d", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
