"""Own losses and data sets that return something else than they should: one line says what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlzoo.cli import main

LOSS = """\
import dlzoo
from torch import Tensor, nn
from torch.nn import functional as F


@dlzoo.LOSSES.register("own")
class Own(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return {}
"""
DATA = """\
import dlzoo
import torch
from dlzoo import ImageSet, Split

images, labels, names = torch.zeros(40, 8, 8, 1, dtype=torch.uint8), torch.arange(40) % 2, ("a", "b")


@dlzoo.DATASETS.register("own")
def own() -> ImageSet:
    train = Split(images, labels)
    return {}
"""
WRONG = {
    "loss of a vector": (
        LOSS,
        "F.cross_entropy(logits, target, reduction='none')",
        r"loss=own returns a tensor of shape \(10,\) on 10 classes; a loss returns a tensor of one number",
    ),
    "loss of a float": (LOSS, "0.5", "loss=own returns a float on 10 classes; "),
    "loss of nothing": (LOSS, "None", "loss=own returns None on 10 classes; "),
    "loss of a pair": (LOSS, "logits.mean(), 1", "loss=own returns a tuple on 10 classes; "),
    "loss of the target": (LOSS, "target.float().mean()", "loss=own has no gradient: "),
    "no data set": (DATA, "images, labels", "data=own: its builder returned a tuple, not a data set such as dlzoo.I"),
    "no split": (DATA, "ImageSet(train, (images, labels), names)", "data=own: test is a tuple, not a dlzoo.Split"),
    "an array": (DATA, "ImageSet(Split(images.numpy(), labels), train, names)", r"train\.images is a ndarray, not a t"),
    "no channels": (DATA, "ImageSet(Split(images[..., 0], labels), train, names)", r"shape \(40, 8, 8\), not \(N, H"),
    "float images": (DATA, "ImageSet(Split(images.float(), labels), train, names)", "type float32, not uint8"),
    "few labels": (
        DATA,
        "ImageSet(Split(images, labels[:30]), train, names)",
        r"data=own: train has 40 images, but labels of shape \(30,\); each image has one label",
    ),
    "float labels": (DATA, "ImageSet(Split(images, labels.float()), train, names)", r"type float32 .*not int64 \(N,\)"),
    "labels from 1": (
        DATA,
        "ImageSet(train, Split(images, labels + 1), names)",
        "test.labels has values from 1 to 2, but the 2 names of classes are for labels from 0 to 1",
    ),
    "negative labels": (DATA, "ImageSet(Split(images, labels - 1), train, names)", "labels has values from -1 to 0"),
    "channels": (
        DATA,
        "ImageSet(train, Split(images.expand(-1, -1, -1, 3), labels), names)",
        "data=own: test has 3 channels, but train has 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_line_before_training(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    source, returned, says = WRONG[case]
    Path("mine.py").write_text(source.replace("{}", returned))
    word = "loss=own" if source is LOSS else "data=own"
    assert main(["train", "parts=./mine.py", word, "data.batch_size=8", "model=mlp", "trainer=cpu", "run_dir=r"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says, line)
