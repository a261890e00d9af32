"""Write the files of a report."""

from __future__ import annotations

import json
from pathlib import Path

from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, write_atomically
from dlzoo.core.schema import NonNegative, check, schema_of
from dlzoo.core.terminal import in_one_line
from dlzoo.report import html, latex, markdown, plots, tables
from dlzoo.report.analysis import analyse
from dlzoo.report.content import Content
from dlzoo.report.json_file import as_json
from dlzoo.report.numbers import one_line
from dlzoo.report.plot import Plot

#: Most findings that are printed; the report has all of them.
_NOTES = 5

#: Most rows of the answer's table that are printed, and the columns of it that are not.
_ROWS, _NOT_PRINTED = 12, {"p", "p, adjusted", "difference / SD", "seeds", "seeds needed", "deviation"}


def write(
    folder: str | Path,
    *,
    baseline: str | None = None,
    metric: str | None = None,
    margin: str | None = None,
    out: str | Path | None = None,
) -> tuple[Content, Path]:
    """Write report.html, .md, .tex, .json and the plots; return the content and the path of report.html.

    Args:
        folder: holds run directories, at any depth.
        baseline: what the others are compared with: "norm=bn", or one setting a factor: "norm=bn act=relu".
        metric: "test/accuracy", or "accuracy" for short.
        margin: differences up to this are treated as equal, in the metric's unit.
        out: the folder of the files; FOLDER/report if None.

    Raises:
        UserError: if there is nothing to report on, for an option that does not fit the runs, or if the files cannot
            be written.
    """
    content = analyse(Path(folder), baseline=baseline, metric=metric, margin=_number(margin))
    target = Path(folder) / "report" if out is None else Path(out)
    if (target / "run.json").exists():
        raise UserError(f"--out {target} is a run directory; use another folder")
    try:
        _files(content, plots.draw(content), target)
    except OSError as error:
        raise UserError(f"cannot write the report to {target}: {reason(error)}") from error
    return content, target / "report.html"


def summary(content: Content, page: Path) -> str:
    """Return the answer, the first findings and the path of the page, to be printed."""
    notes = [f"note        {one_line(finding.text)}" for finding in content.findings[:_NOTES]]
    lines = [*content.answer, *_numbers(content), "", *notes, f"report      {page} (and .md, .tex, .json)"]
    return "\n".join(map(in_one_line, lines))


def _numbers(content: Content) -> list[str]:
    """Return the first rows of the answer's table, aligned, with the columns that fit a terminal."""
    table = tables.answer(content)
    if table is None:
        return []
    kept = [place for place, column in enumerate(table.columns) if column.head not in _NOT_PRINTED]
    rows = [[row[place] for place in kept] for row in ([each.head for each in table.columns], *table.rows[:_ROWS])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [*lines, *([f"  ... {len(table.rows) - _ROWS} more in the report"] if len(table.rows) > _ROWS else [])]


def _files(content: Content, drawn: dict[str, Plot], target: Path) -> None:
    (target / "pictures").mkdir(parents=True, exist_ok=True)
    for name, plot in drawn.items():
        write_atomically(target / "pictures" / f"{name}.png", plot.png)
        write_atomically(target / "pictures" / f"{name}.svg", plot.svg)
    for name in plots.NAMES:
        if name not in drawn:  # left by an earlier report
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
        raise UserError(f"--margin {text}: it must be a number >= 0, in the metric's unit") from None
