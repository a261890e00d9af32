"""`dlzoo show` of what is plotted: losses, activations, schedules, augmentations."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dlzoo.cli import main
from dlzoo.config import Config, compose
from dlzoo.core.registries import ACTS, AUGMENTS, LOSSES, SCHEDULES
from dlzoo.runs.figures import write_png
from dlzoo.show import curves, listing, plot


@pytest.mark.parametrize(
    ("choice", "names"),
    [("loss", LOSSES.names()), ("act", ACTS.names()), ("schedule", SCHEDULES.names()), ("augment", AUGMENTS.names())],
)
def test_every_entry_is_shown_as_a_picture(
    choice: str, names: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for people, but of few pixels, whose encoding takes less time.
    monkeypatch.setattr(plot, "write_png", lambda figure, path, dpi: write_png(figure, path, dpi=dpi // 3))
    assert set(plot._FUNCTIONS) == set(listing.DRAWN)
    for name in names:
        assert main(["show", choice, name]) == 0
        words = capsys.readouterr().out
        assert words.startswith(f"{choice}={name}\n")
        assert "\nsource " in words
        path = Path(words.strip().splitlines()[-1].split()[-1])
        assert path.name == f"{choice}_{name}.png"
        with Image.open(path) as drawn:
            assert len(drawn.convert("L").getcolors(1 << 20)) > 20  # not an empty page


def test_a_picture_is_of_what_was_asked_for(capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "loss", "focal", "loss.gamma=5", "--json"]) == 0
    sharp = Path(json.loads(capsys.readouterr().out)["picture"]).read_bytes()
    assert main(["show", "loss", "focal", "--json"]) == 0
    assert sharp != Path(json.loads(capsys.readouterr().out)["picture"]).read_bytes()
    assert main(["show", "augment", "none", "data=wine"]) == 2
    assert "is a table" in capsys.readouterr().err
    assert main(["show", "loss", "focal", "loss.gama=5"]) == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["loss", "cross_entropy", "loss.class_weights=[1,1,1]"], "cannot be plotted for two classes"),
        (["loss", "cross_entropy", "loss.class_weights=[0,0]"], "cannot be plotted for two classes: it is nan"),
        (["schedule", "cosine", "trainer.max_epochs=1000000000"], "too long to plot"),
        (["augment", "none", "augment.cutout=99999999999999999999999"], "augment.cutout must be"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_loss_of_boxes_is_drawn_as_the_loss(capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "loss", "huber", "loss.delta=2", "--json"]) == 0
    drawn = Path(json.loads(capsys.readouterr().out)["picture"])
    first = drawn.read_bytes()
    drawn.unlink()
    assert main(["show", "box_loss", "huber", "box_loss.delta=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["choice"] == "box_loss"
    assert Path(found["picture"]) == drawn
    assert drawn.read_bytes() == first


def test_a_picture_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["show", "schedule", "cosine", "data.batch_size=full", "optimizer.lr_reference_batch=256"]) == 0
    Path("outputs/show/schedule_cosine.png").unlink()
    Path("outputs/show").rmdir()
    Path("outputs").rmdir()
    Path("outputs").write_text("a file")
    capsys.readouterr()
    assert main(["show", "loss", "focal"]) == 2
    assert "cannot write outputs/show/loss_focal.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("draw", "entry", "panel", "gaps"),
    [
        (curves.plot_act, "act=relu6", 1, [0.0, 6.0]),
        (curves.plot_act, "act=hard_swish", 1, [-3.0, 3.0]),
        (curves.plot_act, "act=hard_swish", 0, []),
        (curves.plot_act, "act=gelu", 1, []),
        (curves.plot_loss, "loss=hinge", 1, [1.0]),
        (curves.plot_loss, "loss=l1", 1, [0.0]),
        (curves.plot_loss, "loss=zero_one", 0, [-0.5, 0.5]),
    ],
)
def test_a_line_is_interrupted_where_the_function_jumps(
    draw: Callable[[Config], Figure], entry: str, panel: int, gaps: list[float]
) -> None:
    name = entry.partition("=")[2]
    (line,) = (each for each in draw(compose([entry])).axes[panel].lines if each.get_label() == name)
    xs, ys = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert sorted({round(float(x), 4) for x in xs[np.isnan(ys)]}) == pytest.approx(gaps, abs=1e-3)
    known = ys[~np.isnan(ys)]
    assert len(known) >= 401 and np.isfinite(known).all()
