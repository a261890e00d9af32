"""Plots of a classifier: the confusion matrix of any number of classes, and the mistakes."""

import pytest
import torch

from dlzoo.tasks.classification.plots import confusion, worst_mistakes
from tests.plots import check_plot


@pytest.mark.parametrize(
    ("classes", "name"),
    [(2, "{}"), (3, "class {}"), (10, "{}"), (10, "a long name of a class {}"), (20, "{}"), (21, "{}"),
     (100, "class {} {}{}{}{}"), (300, "{}")],
)  # fmt: skip
def test_a_confusion_matrix_is_legible(classes: int, name: str) -> None:
    names = [name.format(number, *["word "] * 4) for number in range(classes)]
    matrix = 90 * torch.eye(classes, dtype=torch.int64)
    matrix[0, 1], matrix[1, 0] = 10_000, 20
    figure = confusion(matrix, names)
    texts = check_plot(figure)
    axes = figure.axes[0]
    if classes <= 20:
        assert {text.get_text() for text in axes.texts} == {"90", "10000", "20"}
        assert min(text.get_fontsize() for text in axes.texts) > 3
    else:
        (lines,) = (text.splitlines() for text in texts if text.startswith("most frequent mistakes"))
        assert lines[1].endswith(": 10,000 of 10,090")
        assert lines[2].endswith(": 20 of 110")
        assert len(lines) == 3
        assert 5 < len(axes.get_yticklabels()) <= 10
    if name == "{}":
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {0}


@pytest.mark.parametrize("count", [0, 1, 3, 17])
def test_mistakes_say_which_class_is_true(count: int) -> None:
    mistakes = [(number, number % 3, 2 - number % 2, 0.9 - 0.01 * number) for number in range(count)]
    figure = worst_mistakes(
        lambda indices: torch.zeros(len(indices), 8, 8, 1, dtype=torch.uint8), mistakes, ["a " * 40, "cat", "dog"]
    )
    texts = check_plot(figure)
    if count == 0:
        assert texts == ["no mistakes on the test split"]
    if count > 1:
        assert "cat\ndog (90%)" not in texts
        assert "cat\ncat (89%)" in texts
