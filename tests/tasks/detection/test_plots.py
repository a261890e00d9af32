"""Pictures of detections: what is shown of whom, and where boxes are."""

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from dlzoo.tasks.detection.metrics.average_precision import Curve
from dlzoo.tasks.detection.metrics.summary import by_class, detection_metrics, precision_recall
from dlzoo.tasks.detection.plots import (
    class_precisions,
    error_types,
    precision_recall_curves,
    predictions,
)
from tests.plots import check_plot


def split(classes: int) -> tuple[Tensor, Tensor]:
    """As many pictures as classes, each with an object of its own class that is found; the last class has no object.

    Each class has one false positive more than the one before it that is surer than its hit.
    """
    labels = torch.tensor([0.0, 0.0, 10.0, 10.0, 0.0, 0.0]).repeat(classes - 1, 1, 1)
    labels[:, 0, 4] = torch.arange(classes - 1)
    detections = torch.tensor([20.0, 20.0, 30.0, 30.0, 0.9, 0.0]).repeat(classes - 1, classes, 1)
    detections[..., 5] = labels[..., 4]
    detections[:, 0, :4], detections[:, 0, 4] = labels[:, 0, :4], 0.5
    for number in range(classes - 1):
        detections[number, number + 1 :, 4] = 0
    return detections, labels


@pytest.mark.parametrize("classes", [4, 21])
def test_each_class_with_objects_has_a_curve_the_best_first(classes: int) -> None:
    names = [f"class {number}" for number in range(classes)]
    detections, labels = split(classes)
    figure = precision_recall_curves(precision_recall(detections, labels, classes), names)
    (axes,) = figure.axes
    said = [text.get_text().split("  ") for text in axes.get_legend().get_texts()]
    aps = [1 / (number + 1) for number in range(classes - 1)]
    assert [float(ap) for ap, _ in said] == pytest.approx([np.mean(aps), *aps], abs=6e-4)
    assert [name for _, name in said] == ["mean", *names[:-1]]
    assert [line.get_ydata()[len(line.get_ydata()) // 2] for line in axes.lines] == pytest.approx([np.mean(aps), *aps])
    assert {line.get_drawstyle() for line in axes.lines} == {"steps-pre"}
    assert axes.lines[0].get_zorder() < axes.lines[1].get_zorder()  # the mean hides no class
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == classes
    check_plot(figure)


def test_the_area_below_the_steps_of_a_class_is_its_ap() -> None:
    curve = Curve(np.array([1, 1, 2, 2, 2, 3, 4]), 5)
    (axes,) = precision_recall_curves([curve], ["a"]).axes
    recalls, precisions = axes.lines[1].get_data()
    assert np.sum(np.diff(recalls) * precisions[1:]) == pytest.approx(curve.all_points())
    assert recalls.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert precisions.tolist() == pytest.approx([1, 1, 2 / 3, 4 / 7, 4 / 7, 0])


def test_of_many_classes_only_the_mean_has_a_name() -> None:
    figure = precision_recall_curves(precision_recall(*split(30), 30), [str(number) for number in range(30)])
    assert [text.get_text().split()[1] for text in figure.axes[0].get_legend().get_texts()] == ["mean"]
    assert len(figure.axes[0].lines) == 30
    check_plot(figure)


def test_class_precisions_are_sorted_and_classes_without_objects_left_out() -> None:
    found = by_class(precision_recall(*split(4), 4))
    figure = class_precisions(found["ap50_voc10"], found["objects"], ["a", "b", "c", "never"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c (1)", "b (1)", "a (1)"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([1 / 3, 1 / 2, 1])
    assert "mean 0.611" in " ".join(check_plot(figure))
    for bar, text in zip(axes.patches, axes.texts, strict=True):  # the number is beside its bar
        assert 0 < text.get_position()[0] - bar.get_width() < 0.02
    full = class_precisions([1.0, 0.0], [5, 12_345], ["a name of a class that is long " * 2, "b"])
    check_plot(full)


def test_each_kind_of_error_has_a_bar() -> None:
    metrics = detection_metrics(*split(4), 4)
    figure = error_types(metrics)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [value for name, value in metrics.items() if name.startswith("errors_")]
    assert sum(widths) == 1
    words = " ".join(check_plot(figure))
    assert all(name[7:] in words for name in metrics if name.startswith("errors_"))
    check_plot(error_types(dict.fromkeys(metrics, 0.0)))


def test_nothing_to_show_is_check_plot() -> None:
    check_plot(precision_recall_curves([None, None], ["a", "b"]))
    check_plot(class_precisions([None, None], [0, 0], ["a", "b"]))


def test_predictions_show_sure_detections_and_objects() -> None:
    images = [np.zeros((96, 60 + 40 * number, 3), np.uint8) for number in range(5)]
    row = [5.0, 6.0, 50.0, 40.0]
    detections = [torch.tensor([[*row, score, 1.0] for score in (0.0, 0.29, 0.3, 0.8)])] * 5
    labels = [torch.tensor([[*row, 0, 0], [*row, 2, 1], [0, 0, 0, 0, -1, 0]])] * 5
    for said in (labels, None):
        figure = predictions(images, detections, said, ["a", "$b$c", "d"])
        with_picture = [axes for axes in figure.axes if axes.images]
        assert len(with_picture) == 5
        for axes, image in zip(with_picture, images, strict=True):
            assert [text.get_text() for text in axes.texts] == ["$b$c 0.80", "$b$c 0.30"]
            assert axes.texts[0].get_zorder() > axes.texts[1].get_zorder()
            boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
            assert {(*box.get_xy(), box.get_width(), box.get_height()) for box in boxes} == {(5, 6, 45, 34)}
            dashed = [box for box in boxes if box.get_linestyle() not in ("solid", "-")]
            assert len(dashed) == (2 if said else 0)
            assert (axes.get_xlim(), axes.get_ylim()) == ((0, image.shape[1]), (96, 0))
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert legend == ["detection, with class and score", *(["labelled object"] if said else [])]
        assert "nothing with this score" not in check_plot(figure)


def test_predictions_have_the_size_of_their_images_and_say_that_nothing_was_found() -> None:
    boxes = torch.tensor([[100.0, 50.0, 300.0, 200.0, 0.9, 0.0], [110.0, 52.0, 310.0, 202.0, 0.8, 0.0]])
    images = [np.zeros((24, 32, 3), np.uint8)] * 2
    figure = predictions(images, [boxes, boxes * 0], None, ["a class"], sizes=[(640, 480)] * 2)
    assert {(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes} == {((0, 640), (480, 0))}
    found, nothing = ([text.get_text() for text in axes.texts] for axes in figure.axes)
    assert found == ["a class 0.90", "a class 0.80"]
    assert nothing == ["nothing with this score"]
    check_plot(figure)  # the labels of the two boxes do not overlap


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_a_few_boxes_are_apart_and_inside(seed: int) -> None:
    corners = torch.rand(5, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([420.0, 300.0])
    found = torch.cat([corners, corners + 80, torch.linspace(0.9, 0.4, 5)[:, None], torch.zeros(5, 1)], 1)
    image = np.zeros((375, 500, 3), np.uint8)
    check_plot(predictions([image], [found], None, ["dog"]))
