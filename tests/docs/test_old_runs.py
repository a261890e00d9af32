"""What docs/runs_and_resume.md says of folders of older versions."""

import json
from pathlib import Path

import pytest
import yaml

from dlzoo.cli import main
from dlzoo.runs.run_dir import RunDir
from tests.small import SMALL, train


@pytest.fixture
def old() -> Path:
    """A finished run from before there was trainer.self_adversarial."""
    path = train(*SMALL, "trainer.max_epochs=1", "run_dir=outputs/old").dir
    config = yaml.safe_load((path / "config.yaml").read_text())
    del config["trainer"]["self_adversarial"]
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    record = json.loads((path / "run.json").read_text())
    del record["config"]["trainer"]["self_adversarial"]
    (path / "run.json").write_text(json.dumps(record))
    return path


def test_what_needs_run_json_alone_reads_it(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = train(*SMALL, "trainer.max_epochs=1", "run_dir=outputs/new").dir
    assert main(["runs", "outputs"]) == 0
    assert "2 runs: 2 finished" in capsys.readouterr().out
    assert main(["diff", str(old), str(new)]) == 0
    assert "exactly one setting: trainer.self_adversarial" in capsys.readouterr().out
    assert main(["report", "outputs"]) == 0
    assert Path("outputs/report/report.html").is_file()


@pytest.mark.parametrize("words", [["run"], ["eval"], ["predict", "x.png"]], ids=lambda words: words[0])
def test_what_needs_every_setting_says_which_is_missing(
    words: list[str], old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = words
    assert main([command, str(old), *rest]) == 2
    assert "config.yaml: trainer.self_adversarial is missing" in capsys.readouterr().err


def test_with_the_line_added_it_is_evaluated(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = old / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["trainer"]["self_adversarial"] = 0.0
    file.write_text(yaml.safe_dump(config))
    assert main(["eval", str(old), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    known = RunDir.open(old).read()["metrics"]
    assert measured == {key: known[key] for key in measured}
