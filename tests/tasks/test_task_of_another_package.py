"""The example of docs/extending.md: a task of another package needs one folder, and no line of ours."""

from __future__ import annotations

import json
import signal
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.processes import REPOSITORY, Command

SHAPES = ["data=shapes", "data.train=96", "data.test=24", "data.image_size=32", "data.batch_size=16"]
RUN = [*SHAPES, "model=counter", "model.width=8", "optimizer=adam", "optimizer.lr=0.01", "trainer=cpu"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example of the page."""
    site = tmp_path_factory.mktemp("site")
    page = (REPOSITORY / "docs" / "extending.md").read_text()
    code = page[page.index("## A task") :].split("```python\n")[1].split("```")[0]
    (site / "counting").mkdir()
    (site / "counting" / "__init__.py").touch()
    (site / "counting" / "spec.py").write_text(textwrap.dedent("   " + code.lstrip(" ") if code[0] == " " else code))
    info = site / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dlzoo.task]\ncounting = counting.spec\n")
    return site


def start(site: Path, *words: str, plots: bool = False) -> Command:
    environment = {"PYTHONPATH": f"{site}:{REPOSITORY}", "XDG_CACHE_HOME": str(site / "cache")}
    return Command(*words, environment=environment, plots=plots, one_process=True)


def dlzoo(site: Path, *words: str, plots: bool = False) -> str:
    process = start(site, *words, plots=plots)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def checkpoint(path: str) -> dict[str, torch.Tensor]:
    return torch.load(Path(path, "checkpoints", "last.ckpt"), weights_only=True)["state_dict"]


def test_it_trains_evaluates_draws_and_predicts(site: Path) -> None:
    output = dlzoo(site, "train", *RUN, "trainer.max_epochs=6", "run_dir=run", plots=True)
    assert "counts of 8 classes" in output
    record = json.loads(Path("run/run.json").read_text())
    assert (record["task"], record["monitor"], record["state"]) == ("count", "exact", "finished")
    assert set(record["metrics"]) >= {"test/loss", "test/count_error", "test/exact", "val/exact"}
    assert record["metrics"]["test/count_error"] < 0.5  # 2.5 figures of 8 forms: 0.31 for an answer of none
    assert record["pictures"] == ["counts"]
    with Image.open("run/pictures/counts.png") as plot:
        assert plot.size[0] > 100
    columns = np.load("run/test_predictions.npz")
    assert columns["prediction"].shape == (24, 8)
    assert columns["id"].tolist() == list(range(24))
    again = json.loads(dlzoo(site, "eval", "run=run", "--json"))
    assert again["test/exact"] == record["metrics"]["test/exact"]
    Image.fromarray(np.full((32, 32, 3), 128, np.uint8)).save("grey.png")
    (answer,) = json.loads(dlzoo(site, "predict", "run=run", "grey.png", "--json"))
    assert list(answer["counts"]) == record["classes"]
    assert "circle" in dlzoo(site, "predict", "run=run", "grey.png")


def test_it_resumes_to_the_bit(site: Path) -> None:
    words = [*RUN, "trainer.max_epochs=40", "trainer.checkpoint_every=5"]
    dlzoo(site, "train", *words, "run_dir=whole")
    process = start(site, "train", *words, "run_dir=killed")
    process.wait_for(Path("killed/metrics.jsonl"), '"epoch": 2.0')
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert json.loads(Path("killed/run.json").read_text())["state"] == "interrupted"
    dlzoo(site, "run", "killed")
    whole, resumed = checkpoint("whole"), checkpoint("killed")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_its_sweep_ends_as_a_report_and_its_errors_are_one_line(site: Path) -> None:
    dlzoo(site, "compare", *RUN, "trainer.max_epochs=2", "norm=bn,gn", "seeds=2", "name=counted")
    report = json.loads(Path("outputs/counted/report/report.json").read_text())
    assert report["metric"]["key"] == "test/exact"
    process = start(site, "train", *RUN, "loss=mse")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.strip().splitlines()[-1].startswith("dlzoo: loss=mse is for classes and numbers")
    process = start(site, "train", "data=digits", "model=counter")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "model=counter is for counts, but data=digits has classes" in errors
