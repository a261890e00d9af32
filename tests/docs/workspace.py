"""A folder with all the data that the documentation speaks of, in which its commands are run in this process."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
from PIL import Image

import dlzoo
from dlzoo.cli import main
from dlzoo.core.errors import Interrupted
from dlzoo.runs.run_dir import RunDir
from tests.conftest import draw_pictures
from tests.docs.pages import python_blocks
from tests.docs.rules import NARROW, QUICK, SWEEPS, TRAININGS, Rule
from tests.mask_files import COLOURS, mask_tree, save_colours


class Workspace:
    """Runs commands of the documentation, each at most once.

    Args:
        folder: where pets/, houses.csv and the rest are, and where outputs/ comes to be.
        capsys: takes what they print.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def train(self, text: str) -> RunDir:
        """Run a command of TRAININGS; a second time its run is there."""
        rule = TRAININGS[text]
        run = RunDir(self.folder / "outputs" / f"documented_{list(TRAININGS).index(text)}")
        if not run.path.exists():
            words = [word for word in self._words(text, rule) if not word.startswith("run_dir=")]
            self.run([*_merged([*words[2:], *shlex.split(QUICK), *shlex.split(rule.add)]), f"run_dir={run.path}"])
        return run

    def other(self, text: str, rule: Rule) -> str:
        """Run any other command; what it prints."""
        if rule.needs in SWEEPS:
            self.other(rule.needs, SWEEPS[rule.needs])
        words = self._words(text, rule)
        command = words[2:] if words[0] == "python" else words[1:]
        return self.run([*command, *shlex.split(rule.add)])

    def needed(self, rule: Rule) -> RunDir | None:
        """The run that a rule is about."""
        return self.train(rule.needs) if rule.needs in TRAININGS else None

    def run(self, words: list[str], code: int = 0) -> str:
        """Run `dlzoo <words>`, or `python train.py <words>` where the first is a setting; what it prints."""
        self._capsys.readouterr()
        typed = words if words and "=" not in words[0] and words[0] != "-m" else ["train", *words]
        assert main(typed) == code
        printed = self._capsys.readouterr()
        return printed.out + printed.err

    def _words(self, text: str, rule: Rule) -> list[str]:
        run = self.needed(rule)
        typed = shlex.split(text if run is None else text.replace("outputs/<run>", str(run.path)))
        assert rule.swap.keys() <= set(typed), f"{text} has not all of {list(rule.swap)}"
        words = [new for word in typed for new in (shlex.split(rule.swap[word]) if word in rule.swap else [word])]
        return [next(map(str, self.folder.glob(word))) if "*" in word else word for word in words]


def _merged(words: list[str]) -> list[str]:
    """Settings, of which a later one replaces an earlier one of the same key."""
    return list({word.partition("=")[0]: word for word in words}.values())


def furnish(folder: Path) -> None:
    """Put everything that commands of the documentation name into an empty folder."""
    for part, count in (("train", 20), ("test", 6)):
        for number, name in enumerate(("dark", "light")):
            draw_pictures(folder / "pets" / part / name, count, size=(16, 16), seed=number)
    for name in ("cat", "dog"):
        Image.new("RGB", (40, 30), (200, 180, 40)).save(folder / f"{name}.jpg")
    rows = ["id,rooms,area,kind,price"]
    for number in range(90):
        area = "NA" if number % 17 == 0 else str(40 + number % 50)
        rows.append(f"{number},{1 + number % 6},{area},{'house' if number % 3 else 'flat'},{90.5 + 3 * (number % 50)}")
    (folder / "houses.csv").write_text("\n".join(rows))
    (hook,) = python_blocks("hooks")
    (folder / "copies.py").write_text(hook)
    (norm,) = python_blocks("walk_compare")
    (folder / "rms.py").write_text(norm)
    (folder / "lab" / "experiment").mkdir(parents=True)
    (folder / "lab" / "experiment" / "of_the_lab.yaml").write_text("# @package _global_\n# Another seed.\nseed: 7\n")
    numbers = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for kind in ("images", "labels"):
            (folder / "mine" / kind / part).mkdir(parents=True)
        for number in range(count):
            pixels = numbers.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            pixels[16:48, 16:48] = 250
            Image.fromarray(pixels).save(folder / "mine" / "images" / part / f"{number}.png")
            (folder / "mine" / "labels" / part / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")
    mask_tree(folder / "roads", {"train": 12, "test": 4})
    mask_tree(folder / "streets", {"train": 12, "test": 4}, classes=4, save=save_colours)
    table = zip(("sky", "car", "bus", "road", "edge"), [*COLOURS, (255, 255, 255)], strict=True)
    (folder / "colours.txt").write_text("".join(f"{name} {red} {green} {blue}\n" for name, (red, green, blue) in table))


class Terminated(pl.Callback):
    """Sends this process SIGTERM in the second epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def interrupted(path: Path) -> tuple[RunDir, dict[str, float]]:
    """A run that was stopped in its second epoch, and what an undisturbed one of the same settings measured."""
    words = [*shlex.split(f"{NARROW} {QUICK}"), "trainer.max_epochs=3"]
    words = [*_merged(words), f"run_dir={path}"]
    with pytest.raises(Interrupted):
        dlzoo.train(words, quiet=True, callbacks=[Terminated()])
    RunDir(path).update(callbacks=[])  # one that nobody watches goes on from there
    return RunDir(path), dlzoo.train([*words[:-1], f"run_dir={path}_whole"], quiet=True).metrics
