"""Tables that cannot be read, or learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.corpus.case import Case

_LINE = "train data=csv data.path=a.csv data.target=y data.batch_size=20"


def _csv(content: str | bytes) -> Callable[[Path, Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder, base: (folder / "a.csv").write_bytes(data) and None


def _rows(*columns: Callable[[int], object], names: str = "x,y", count: int = 60) -> str:
    rows = (",".join(f'"{column(row)}"' for column in columns) for row in range(count))
    return "\n".join((names, *rows)) + "\n"


def _tables(says: str, *contents: str | bytes, line: str = _LINE) -> list[Case]:
    return [Case(line, says, _csv(content)) for content in contents]


def _spelled(*spell: Callable[[int], str]) -> list[str]:
    """Tables in which the input, or the target, is spelled like this."""
    return [_rows(*(pair), count=60) for each in spell for pair in ((each, lambda i: i % 3), (lambda i: i % 7, each))]


GOOD = _rows(lambda i: i % 7, lambda i: i % 3)

KINDS: dict[str, list[Case]] = {
    "tables that are empty": _tables("a.csv", "", "\n\n", "x,y", "x,y\n", "x,y\n\n\n", " ", "\ufeff", "x,y\n1,2\n"),
    "tables that are no text": _tables(
        "a.csv",
        b"\xff\xfe\x00\x01",
        b"x,y\n\xe4,1\n" * 9,
        "x,y\n1,2\n".encode("utf-16"),
        bytes(500),
        b"PK\x03\x04" + bytes(90),
        b"x,y\n" + b"\x80,1\n" * 30,
    ),
    "rows of another length": _tables(
        "a.csv:",
        "x,y\n1,2,3\n1,2\n",
        "x,y\n1\n2,3\n",
        GOOD + "1,2,3\n",
        GOOD + "1\n",
        GOOD + ",,\n",
        "x,y\n" + "1,2\n" * 50 + "1,2,\n",
    ),
    "quotes that do not close": _tables(
        "a.csv:", 'x,y\n"1,2\n', 'x,y\n1,"2\n3,4\n', GOOD + '"a"b,1\n', GOOD + '"1""2,3\n', GOOD + '1,"'
    ),
    "headers": _tables(
        "a.csv",
        "1,2\n3,4\n5,6\n",
        "x,\n1,2\n",
        ",y\n1,2\n",
        "x,x,y\n1,2,3\n",
        "y,y\n1,2\n",
        "0.5,1e3\n1,2\n",
        "x, ,y\n1,2,3\n",
    ),
    "targets that are not there": [
        Case(f"train data=csv data.path=a.csv data.target={name}", "has no column", _csv(GOOD))
        for name in ("Y", "z", "[y,z]", "yy", "[Y]", "0")
    ],
    "columns to drop that are not there": [
        Case(f"{_LINE} 'data.drop=[{names}]'", "data.drop", _csv(GOOD)) for names in ("z", "X", "y", "x,z", "x,y")
    ],
    "targets with gaps": _tables(
        "missing",
        GOOD + "1,\n",
        GOOD + "1,NA\n1,\n",
        GOOD + "2,n/a\n",
        GOOD + "3,?\n",
        GOOD + "1,null\n",
        GOOD + "1,NaN\n",
    ),
    "targets that cannot be classes": _tables(
        "a.csv",
        _rows(lambda i: i, lambda i: "one"),
        _rows(lambda i: i, lambda i: f"n{i}"),
        GOOD + "1,extra\n",
        _rows(lambda i: i, lambda i: "a" if i else "b"),
        _rows(lambda i: i, lambda i: 1),
    ),
    "columns like names": _tables(
        "data.drop",
        _rows(lambda i: f"name {i}", lambda i: i % 3),
        _rows(lambda i: f"{i:03}-x", lambda i: i % 2),
        _rows(lambda i: f"2020-01-{i:02}", lambda i: i % 2),
        _rows(lambda i: f"Ann{i}@x.org", lambda i: i % 2),
        _rows(lambda i: chr(0x4E00 + i), lambda i: i % 2),
    ),
    "words among numbers": _tables(
        "a.csv:",
        *(
            _rows(lambda i, w=word: w if i == 30 else i * 1.5, lambda i: i % 3)
            for word in ("unknown", "-", "1.2.3", "12 cm", "none", "#REF!", "1e", "0x1F")
        ),
    ),
    "numbers that are too large": _tables(
        "a.csv",
        GOOD + "1e39,1\n",
        GOOD + "-1e300,2\n",
        GOOD + "inf,1\n",
        GOOD + "1e400,0\n",
        GOOD + f"{'9' * 400},0\n",
    ),
    "decimal commas": _tables(
        "data.decimal",
        *_spelled(lambda i: f"{i * 0.37:.2f}".replace(".", ","), lambda i: f"-{i},5"),
        "x;y\n" + "".join(f"{i},25;{i % 3}\n" for i in range(60)),
    ),
    "thousands": _tables(
        "data.thousands",
        *_spelled(lambda i: f"{i * 1371:,}", lambda i: f"{1000 + i * 37:,}", lambda i: f"-{1000 + i * 7:,}.5"),
    ),
    "currencies, percent and other minus signs": _tables(
        "a.csv",
        *_spelled(lambda i: f"${i}.50", lambda i: f"{i * 1.5}%", lambda i: f"\u20ac {i * 3}"),
    ),
    "units and brackets": _tables(
        "a.csv",
        *_spelled(lambda i: f"{i * 3} EUR", lambda i: f"{i + 1}kg", lambda i: f"({i}.5)" if i % 2 else f"{i}.5"),
    ),
    "numbers and booleans in two notations": _tables(
        "a.csv",
        *_spelled(
            lambda i: f"{i},5" if i % 2 else f"{i}.5",
            lambda i: ("yes", "true", "no", "false")[i % 4],
            lambda i: ("1", "0", "True")[i % 3],
        ),
    ),
    "test tables": [
        Case(f"{_LINE} data.test_path=b.csv", "b.csv", lambda folder, base, c=content: _both(folder, c))
        for content in (
            "",
            "x,y\n",
            "x,z\n1,2\n",
            "y\n1\n",
            "x,y\n1,9\n",
            "x,y\n1,\n",
            "x,y\nword,1\n",
            "x,y\n1e39,1\n",
        )
    ],
    "settings of tables": [
        Case(f"{_LINE} {words}", says, _csv(GOOD))
        for words, says in (
            ("data.degree=0", "data.degree"),
            ("data.degree=100000", "data.degree"),
            ("data.test_path=none.csv", "none.csv"),
            ("data.task=classfy", "data.task"),
            ("'data.target=[x,y]' data.task=classify", "data.target"),
            ("data.delimiter=bar", "a.csv"),
            ("data.target=[]", "data.target"),
            ("data.target=", "data.target"),
            ("data.missing=NA", "data.missing"),
            ("data.drop=x", ""),
        )
    ],
    "tables with too many features": [
        Case(
            f"{_LINE} data.degree=90",
            "features",
            _csv(",".join(f"x{k}" for k in range(30)) + ",y\n" + ("1," * 30 + "0\n" + "2," * 30 + "1\n") * 20),
        ),
        Case(
            f"{_LINE} data.degree=5",
            "features",
            _csv(",".join(f"x{k}" for k in range(40)) + ",y\n" + ("1," * 40 + "0\n" + "2," * 40 + "1\n") * 20),
        ),
        *_tables("features", *(_rows(lambda i: f"w{i // 2}", lambda i: i % 2, count=n) for n in (40_000,))),
        Case(f"{_LINE} data.degree=100", "features", _csv("a,b,c,d,y\n" + "1,2,3,4,0\n2,3,4,5,1\n" * 20)),
        Case(f"{_LINE} data.degree=50", "features", _csv("a,b,c,d,e,y\n" + "1,2,3,4,5,0\n2,3,4,5,6,1\n" * 20)),
    ],
}


def _both(folder: Path, test: str) -> None:
    (folder / "a.csv").write_text(GOOD)
    (folder / "b.csv").write_text(test)
