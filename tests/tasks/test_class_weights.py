"""Class weights that follow from the training samples."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from dlzoo.builder.compatibility import load_data
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.core.registries import TASKS
from dlzoo.losses.cross_entropy import CrossEntropy
from dlzoo.tasks.class_weights import balanced_weights, build_loss
from dlzoo.tasks.segmentation.losses import MaskLoss


def test_balanced_weights_are_scikit_learn_s() -> None:
    labels = np.random.default_rng(0).choice(6, 500, p=[0.5, 0.3, 0.1, 0.05, 0.04, 0.01])
    counts = torch.from_numpy(labels).bincount()
    expected = compute_class_weight("balanced", classes=np.arange(6), y=labels)
    assert balanced_weights(counts) == pytest.approx(expected.tolist())
    assert np.mean(expected[labels]) == pytest.approx(1)


def test_a_class_without_a_sample_has_the_weight_one_and_changes_no_other() -> None:
    assert balanced_weights(torch.tensor([6, 0, 2])) == pytest.approx([8 / 12, 1, 2])
    assert balanced_weights(torch.tensor([0, 0])) == [1, 1]


def test_balanced_weights_are_those_of_the_training_samples_of_a_run() -> None:
    config = compose(["data=digits", "data.imbalance=20", "loss.class_weights=balanced"])
    data = load_data(config)
    labels = data.train.labels.numpy()
    loss = TASKS.build(data.task).loss(config, data)
    assert isinstance(loss, CrossEntropy) and loss.class_weights is not None
    expected = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    assert loss.class_weights.tolist() == pytest.approx(expected.tolist())
    assert expected.max() > 2 > 1 > expected.min()


def test_balanced_weights_of_masks_count_pixels() -> None:
    words = ("data=shapes", "model=unet_tiny", "data.train=24", "data.test=4", "data.image_size=32")
    config = compose([*words, "loss=cross_entropy", "loss.class_weights=balanced", "loss.label_smoothing=0.1"])
    data = load_data(config)
    masks = data.train.images[:][..., -1]
    counts = [int((masks == number).sum()) for number in range(len(data.classes))]
    loss = TASKS.build(data.task).loss(config, data)
    assert isinstance(loss, MaskLoss) and isinstance(loss.loss, CrossEntropy)
    assert loss.loss.class_weights is not None
    expected = [sum(counts) / (sum(c > 0 for c in counts) * c) if c else 1 for c in counts]
    assert loss.loss.class_weights.tolist() == pytest.approx(expected)
    assert expected[0] < 0.5 < 2 < max(expected)


def test_weights_that_were_given_stay() -> None:
    loss = build_loss({"name": "cross_entropy", "label_smoothing": 0.0, "class_weights": [1, 2]}, torch.tensor([1, 9]))
    assert isinstance(loss, CrossEntropy) and loss.class_weights is not None
    assert loss.class_weights.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("weights", "says"), [([1.0, 2.0], "has 2 numbers, but there are 3 classes"), ([0.0, 0.0, 0.0], "are all 0")]
)
def test_weights_that_do_not_fit_the_classes_are_refused(weights: list[float], says: str) -> None:
    section = compose(["loss=cross_entropy", f"loss.class_weights={weights}"])["loss"]
    with pytest.raises(UserError, match=says):
        build_loss(section, torch.tensor([5, 5, 5]))
