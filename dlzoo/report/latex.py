"""Write the tables of a report as LaTeX."""

from __future__ import annotations

import re

from dlzoo.report import tables
from dlzoo.report.content import Content
from dlzoo.report.numbers import MINUS, NONE, one_line
from dlzoo.report.table import Column, Table

_HEAD = r"""% Tables of a dlzoo report, for \input. They need, in the preamble:
%   \usepackage{booktabs}
%   \usepackage{graphicx}  % \resizebox
%   \usepackage[T1]{fontenc}
% Names in scripts beyond Latin need lualatex or xelatex, and a font that has them.
"""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    # After \\ an asterisk or a bracket would be read as its argument.
    "*": "{*}",
    "[": "{[}",
    "]": "{]}",
    MINUS: "$-$",
    NONE: "--",
    "±": r"$\pm$",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\N{ZERO WIDTH NON-JOINER}": "{}",
}

#: Text that is set in math mode: numbers, signs and brackets.
_FORMULA = re.compile(rf"[-+{MINUS}±\[\]<.,\d ]+")


def text(content: Content) -> str:
    """Return the tables of results and of cost, each in its own float."""
    candidates = [tables.overview(content), tables.means(content), tables.effects(content), tables.cost(content)]
    together = candidates[0] is not None
    shown = [each for each in candidates if each is not None and not (together and each.name == "means")]
    name = re.sub(r"[^A-Za-z0-9]+", "-", content.title).strip("-")
    return "\n".join([_HEAD, *(_table(each, f"{name}-{each.name}") for each in shown)])


def _table(table: Table, label: str) -> str:
    kinds = "".join("r" if column.kind == "number" else "l" for column in table.columns)
    heads = " & ".join(_escape(column.head) for column in table.columns)
    rows = "\n".join(
        " & ".join(_cell(column, text) for column, text in zip(table.columns, row, strict=True)) + r" \\"
        for row in table.rows
    )
    return rf"""\begin{{table}}
\centering
\caption{{{_escape(table.caption)}}}
\label{{tab:{label}}}
\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
\begin{{tabular}}{{@{{}}{kinds}@{{}}}}
\toprule
{heads} \\
\midrule
{rows}
\bottomrule
\end{{tabular}}}}
\end{{table}}
"""


def _cell(column: Column, words: str) -> str:
    if column.kind == "number" and words != NONE and _FORMULA.fullmatch(words):
        formula = words.replace(MINUS, "-").replace("±", r"\pm").replace(", ", r",\, ")
        grouped = re.sub(r"(?<=\d),(?=\d)", "{,}", formula)
        return f"${grouped}$"
    return _escape(words)


def _escape(words: str) -> str:
    separated = re.sub("-(?=-)", "-\N{ZERO WIDTH NON-JOINER}", one_line(words))  # TeX turns two hyphens into a dash
    return "".join(_ESCAPES.get(letter, letter) for letter in separated)
