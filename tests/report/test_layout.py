"""How cells and comparisons are named where an arm does not have a setting that varies."""

from __future__ import annotations

from pathlib import Path

from dlzoo.report.analysis import analyse
from dlzoo.report.effects_plot import effects
from dlzoo.report.layout import arm_of, context_of_comparison, named_values
from tests.fake_runs import write_sweep


def test_a_setting_that_an_arm_does_not_have_is_that_of_the_baseline_and_no_part_of_its_name(tmp_path: Path) -> None:
    smoothed = [["loss=cross_entropy", f"loss.label_smoothing={value}"] for value in (0.0, 0.1)]
    write_sweep(tmp_path, [*smoothed, ["loss=mse"]], range(4), lambda config, seed: 0.5 + 0.1 * seed)
    content = analyse(tmp_path, baseline="loss=cross_entropy")
    cells = {cell.label: cell for cell in content.cells}
    assert named_values(content, cells["loss=mse"], content.factors) == "mse"
    assert "mse" in {arm_of(content, cell) for cell in content.cells}
    compared = [each for each in content.comparisons if each.level == "mse"]
    assert {context_of_comparison(content, each) for each in compared} == {"label_smoothing=0", "label_smoothing=0.1"}
    drawn = effects(content)
    assert drawn is not None
    labels = [label.get_text().replace("\n", "") for label in drawn.figure.axes[0].get_yticklabels()]
    assert len(labels) == len(set(labels)) and not any("\N{EN DASH}" in label for label in labels)
