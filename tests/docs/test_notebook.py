"""docs/notebook.ipynb is executed by a kernel, and what its cells show is looked at."""

from __future__ import annotations

import re
from typing import Any

import pytest

import dlzoo
from tests.docs.pages import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed: pip install -e '.[dev]'")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -e '.[dev]'")

#: Before the notebook: runs of the comparison in the kernel's process, which saves their imports.
FIRST = """
from dlzoo.sweep.executors.local import LocalExecutor
from tests.processes import start_here
LocalExecutor.start = start_here
"""
#: What makes the notebook small.
QUICK = {
    '"model.width=8", "data.limit=600", "trainer.max_epochs=6"': (
        '"model.width=4", "data.limit=60", "data.batch_size=20", "trainer.max_epochs=2", "trainer=cpu"'
    )
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after its execution, with that first cell."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(REPOSITORY / "docs" / "notebook.ipynb", as_version=4)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert all(text in sources for text in QUICK)
    for cell in notebook.cells:
        for text, small in QUICK.items():
            cell.source = cell.source.replace(text, small)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("FORCE_COLOR", "1")  # as some notebooks have it
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(folder / "jupyter"))
        nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook: Any, source: str) -> list[Any]:
    """The outputs of the cell that begins, or ends, with a text."""
    (cell,) = [each for each in notebook.cells if each.source.startswith(source) or each.source.endswith(source)]
    return cell.outputs


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(REPOSITORY / "docs" / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    text = "\n".join(cell.source for cell in notebook.cells)
    assert {"train", "load", "compare", "runs", "NORMS"} <= set(re.findall(r"dlzoo\.(\w+)", text)) <= {*dlzoo.__all__}


@pytest.mark.long
def test_progress_is_plain_lines_and_one_bar(executed: Any) -> None:
    """Of a training and of a comparison."""
    for source, line in (("SMALL =", "epoch 1/2  loss"), ("report = dlzoo.compare", "finished    norm=gn seed=1")):
        found = outputs(executed, source)
        text = "".join(each.text for each in found if each.output_type == "stream" and each.name == "stdout")
        assert text.count(line) == 1, text
        bars = [each.data for each in found if each.output_type == "display_data"]
        assert len(bars) == 1
        assert "100%" in bars[0]["text/plain"]
        assert "<progress" in bars[0]["text/html"]
        assert "\x1b" not in text + bars[0]["text/plain"]
        assert len(text.splitlines()) < 40


@pytest.mark.long
def test_results_show_themselves(executed: Any) -> None:
    (run,) = outputs(executed, 'run = dlzoo.load("outputs/rms")')
    assert "test/accuracy" in run.data["text/html"]
    (plots,) = outputs(executed, "run.plots")
    assert plots.data["text/html"].count("data:image/png") == 3
    report = outputs(executed, "report = dlzoo.compare")[-1]
    assert "test accuracy" in report.data["text/html"]
    (table,) = outputs(executed, 'dlzoo.runs("outputs/norms")')
    assert table.data["text/html"].count("<tr>") == 7
    assert not any(each.output_type == "error" for cell in executed.cells for each in cell.get("outputs", ()))


@pytest.mark.long
def test_nothing_is_printed_to_the_error_stream(executed: Any) -> None:
    printed = [each.text for cell in executed.cells for each in cell.get("outputs", ()) if each.get("name") == "stderr"]
    assert printed == []
