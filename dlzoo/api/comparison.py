"""Comparisons and reports from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlzoo.api.table import RunTable, runs
from dlzoo.core.errors import UserError

if TYPE_CHECKING:
    from dlzoo.comparison.finding import Finding
    from dlzoo.report.content import Cell, Comparison, Content, Metric


def compare(words: Sequence[str], *, quiet: bool = False) -> Report:
    """Run a comparison and report on it, as `dlzoo compare`: compare(["norm=bn,gn", "seeds=8"]).

    Finished runs are not repeated: the same call again runs what is missing.

    Args:
        words: settings, some of them with several values, and the words of `dlzoo compare --help`.
        quiet: whether to print nothing while it runs.

    Raises:
        UserError: for words that cannot be read, or if no run was finished.
        Interrupted: after Ctrl-C, when the runs have saved.
    """
    from dlzoo.core.console import Console
    from dlzoo.core.own_parts import typed_parts
    from dlzoo.sweep.request import parse_comparison
    from dlzoo.sweep.sweep import sweep

    with typed_parts(words) as settings:
        swept = sweep(parse_comparison(settings), Console(quiet=quiet))
    if swept.dry:
        raise UserError("sweep.dry_run=true: no run was started, so there is nothing to report; leave it out")
    return report(swept.folder)


def report(
    folder: str | os.PathLike[str],
    *,
    baseline: str | None = None,
    metric: str | None = None,
    margin: float | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Report:
    """Write a report on the runs of a folder, as `dlzoo report`, and return its numbers.

    Args:
        folder: holds run directories, at any depth.
        baseline: what the others are compared with: "norm=bn", or one setting for each factor: "norm=bn act=relu".
        metric: "test/accuracy", or "accuracy" for short.
        margin: differences up to this are treated as equal, in the metric's unit.
        out: the folder of the files; FOLDER/report if None.

    Raises:
        UserError: if no run is finished, for an option that does not fit the runs, or if the files cannot be written.
    """
    from dlzoo.report.report import write

    path = Path(folder).expanduser()
    number = None if margin is None else str(margin)
    target = None if out is None else Path(out).expanduser()
    return Report(*write(path, baseline=baseline, metric=metric, margin=number, out=target))


class Report:
    """The numbers of a report, and where it was written. A notebook shows the answer and the tables.

    Attributes:
        path: report.html; .md, .tex and .json are beside it.
        content: everything in the report, as dataclasses (dlzoo/report/content.py documents each field).
    """

    def __init__(self, content: Content, path: Path) -> None:
        self.content, self.path = content, path

    @property
    def answer(self) -> str:
        """The result in words, with its uncertainty."""
        return " ".join(self.content.answer)

    @property
    def metric(self) -> Metric:
        """The compared metric: key ("test/accuracy"), name and higher_is_better."""
        return self.content.metric

    @property
    def arms(self) -> list[Cell]:
        """What was compared: each has label, values (seed -> metric), mean, deviation and interval (95 %)."""
        return self.content.cells

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons with the baseline: each has level, against, context, verdict and effect.

        An effect has difference, interval (95 %), p and the numbers of seeds.
        """
        return self.content.comparisons

    @property
    def verdict(self) -> str:
        """The verdict, if there is one comparison: better, worse, equivalent or undecided.

        Raises:
            UserError: if there are several comparisons, or none.
        """
        verdicts = [each.verdict for each in self.comparisons]
        if len(verdicts) != 1:
            where = "each of report.comparisons has its own" if verdicts else "report.answer says why"
            raise UserError(f"the report has {len(verdicts)} comparisons, so there is no single verdict; {where}")
        return verdicts[0]

    @property
    def findings(self) -> list[Finding]:
        """Cautions about the comparison: each with kind and text."""
        return self.content.findings

    @property
    def runs(self) -> RunTable:
        """The runs of the folder."""
        return runs(self.content.folder)

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the report as plain values, as in report.json."""
        from dlzoo.report.json_file import as_json

        return as_json(self.content)

    def __repr__(self) -> str:
        from dlzoo.report.report import summary

        return summary(self.content, self.path)

    def _repr_html_(self) -> str:
        from dlzoo.report.html import fragment

        return f"{fragment(self.content)}\n<p>Report: <code>{escape(str(self.path))}</code></p>"
