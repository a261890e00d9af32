"""Write a report on the runs of a folder: what differs between them, and what effect it has.

What varies and what repeats is read from the runs. Runs that are not finished are left out, and
listed. The report is written as HTML, Markdown, LaTeX and JSON, with its plots. Each option may
also be written without dashes: baseline=norm=bn.
"""

from __future__ import annotations

from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = "write a report on the runs of a folder, with tables and plots: dlzoo report outputs/SWEEP"


def arguments(parser: Parser) -> None:
    """Add the folder and the options."""
    parser.add_argument("folder", metavar="FOLDER", help="holds the run directories, at any depth")
    parser.add_argument(
        "--baseline",
        metavar="SETTINGS",
        help="what the others are compared with, such as norm=bn (default: what the sweep set, or the default setting)",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="a metric of the runs, such as test/f1_macro (default: the test value of the metric that was monitored)",
    )
    parser.add_argument(
        "--margin",
        metavar="NUMBER",
        help="differences up to this are treated as equal, in the metric's unit (default: 0.01 for accuracies)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to write the report (default: FOLDER/report)")
    parser.undashed = ("baseline", "metric", "margin", "out")


def run(arguments: Namespace) -> None:
    """Write the report and print its answer."""
    from dlzoo.report.report import summary, write

    options = {name: getattr(arguments, name) for name in ("baseline", "metric", "margin", "out")}
    print(summary(*write(arguments.folder, **options)))
