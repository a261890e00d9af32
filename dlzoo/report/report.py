"""A report from its folder to its files."""

from __future__ import annotations

import json
from pathlib import Path

from dlzoo.core.errors import UserError
from dlzoo.core.schema import NonNegative, check, schema_of
from dlzoo.report import html, latex, markdown, pictures
from dlzoo.report.analysis import analyse
from dlzoo.report.content import Content
from dlzoo.report.json_file import as_json
from dlzoo.report.numbers import plain
from dlzoo.report.picture import Picture
from dlzoo.runs.run_dir import write_atomically

#: Findings that are printed; the report has all.
_NOTES = 5


def write(
    folder: str | Path,
    *,
    baseline: str | None = None,
    metric: str | None = None,
    margin: str | None = None,
    out: str | Path | None = None,
) -> str:
    """Write report.html, .md, .tex, .json and the pictures; what to print of it.

    Args:
        folder: holds run directories, at any depth.
        baseline: what the others are held against: "norm=bn", or one setting a factor: "norm=bn act=relu".
        metric: "test/accuracy", or "accuracy" for short.
        margin: differences within it are as good as none, in the metric's unit.
        out: where the files go; FOLDER/report without it.

    Raises:
        UserError: if there is nothing to report on, for an option that does not fit the runs, or if the files cannot
            be written.
    """
    content = analyse(Path(folder), baseline=baseline, metric=metric, margin=_number(margin))
    target = Path(folder) / "report" if out is None else Path(out)
    if (target / "run.json").exists():
        raise UserError(f"--out {target} is a run; name a folder of its own")
    try:
        _files(content, pictures.draw(content), target)
    except OSError as error:
        raise UserError(f"cannot write the report to {target}: {error.strerror or error}") from error
    notes = [f"note        {plain(finding.text)}" for finding in content.findings[:_NOTES]]
    return "\n".join([*content.answer, "", *notes, f"report      {target / 'report.html'} (and .md, .tex, .json)"])


def _files(content: Content, drawn: dict[str, Picture], target: Path) -> None:
    (target / "pictures").mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        write_atomically(target / "pictures" / f"{name}.png", picture.png)
        write_atomically(target / "pictures" / f"{name}.svg", picture.svg)
    for name in pictures.NAMES:
        if name not in drawn:  # of a report that had more to show
            (target / "pictures" / f"{name}.png").unlink(missing_ok=True)
            (target / "pictures" / f"{name}.svg").unlink(missing_ok=True)
    write_atomically(target / "report.html", html.page(content, drawn))
    write_atomically(target / "report.md", markdown.text(content, drawn))
    write_atomically(target / "report.tex", latex.text(content))
    write_atomically(target / "report.json", json.dumps(as_json(content), indent=1) + "\n")


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return check(schema_of(NonNegative), float(text))
    except ValueError:
        raise UserError(f"--margin {text}: it is a number >= 0, in the metric's unit") from None
