"""Networks with backbones learn masks: a minute each, therefore long."""

import pytest

from dlzoo.config import compose
from dlzoo.data.splits import Splits
from tests.small import train

WORDS = [
    *("data=shapes", "data.train=600", "data.image_size=32", "data.objects=2", "data.smallest=0.4", "data.largest=0.8"),
    *("data.batch_size=8", "model=unet", "model.width=16", "norm=bn", "trainer.max_epochs=15", "trainer=cpu"),
    "trainer.threads=1",
]
BACKBONES = {
    "resnet20": [],
    "resnet18": ["backbone.width=16"],
    "vgg11": ["backbone.width=16"],
    "mobilenet_v2": ["backbone.width=0.5"],
    "densenet_bc_40_12": [],
    "preact_resnet20": [],
}


@pytest.mark.long
@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_are_better_than_the_most_frequent_class_everywhere(backbone: str) -> None:
    run = train(*WORDS, f"backbone={backbone}", *BACKBONES[backbone])
    counts = Splits.load(compose(WORDS)["data"], ("segment",)).test.labels.sum(0)
    of_majority = float(counts.max() / counts.sum()) / int((counts > 0).sum())
    assert run.metrics["test/miou"] > of_majority + 0.3
