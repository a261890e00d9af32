"""`dlzoo lr-find`: what it refuses."""

import pytest

from dlzoo.cli import main
from tests.small import SMALL


def test_lr_find_answers_mistakes_in_one_line(capsys: pytest.CaptureFixture) -> None:
    for words in (["steps=five"], ["low=1", "high=0.1"], ["steps=3"], ["model=resnet21"]):
        assert main(["lr-find", *SMALL, *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
