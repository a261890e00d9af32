"""Your own table: a CSV file with a header."""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import torch
from torch import Tensor

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.registries import DATASETS, TASKS
from dlzoo.data.datasets.csv_checks import check_tables
from dlzoo.data.datasets.csv_file import CsvFile, Delimiter, Missing, join_booleans, read_csv
from dlzoo.data.datasets.csv_numbers import LARGEST, PLAIN, Decimal, Spelling, Thousands
from dlzoo.data.datasets.csv_target import refuse_other_spelling, task_of, words_in
from dlzoo.data.settings import cut
from dlzoo.data.split import Split
from dlzoo.data.table_set import Column, Degree, Encode, Impute, Scale, TableSet


@DATASETS.register(
    "csv", source="RFC 4180, with a header", table=True, tasks=("classify", "regress"), model="mlp",
    finds_task="dlzoo.data.datasets.csv_target:task_in_file",
)  # fmt: skip
def csv_table(
    *,
    path: str | None = None,
    target: str | tuple[str, ...] | None = None,
    task: Literal["auto", "regress", "classify"] = "auto",
    test_path: str | None = None,
    delimiter: Delimiter = "auto",
    decimal: Decimal = "point",
    thousands: Thousands = "none",
    missing: Missing = ("NA", "N/A", "NaN", "null", "?"),
    drop: tuple[str, ...] = (),
    impute: Impute = "mean",
    scale: Scale = "standard",
    encode: Encode = "one_hot",
    degree: Degree = 1,
) -> TableSet:
    """Your own table in `path`, UTF-8 with a header: rows x columns -> the column `target`, classes or numbers.

    A column whose values are all numbers, with the marks `decimal` and `thousands`, is numeric, any other is
    categorical; numbers with signs or units are refused. Empty cells and what is in `missing`, words in any case and
    numbers, are missing values. `drop` leaves columns out. `delimiter` auto is the most frequent one in the header.

    `task` auto is regress for several targets, and for a numeric target with fractions or more than 20 distinct values;
    classify otherwise. The default loss follows it. `test_path` is the test split; without it a fixed fifth of the rows
    is used, class by class.
    """
    if not path or not target:
        raise UserError("data=csv needs data.path=<file with a header> and data.target=<column to predict>")
    files = {"data.path": path} | ({"data.test_path": test_path} if test_path is not None else {})
    tables = [read_csv(file, key, delimiter, missing, Spelling(decimal, thousands)) for key, file in files.items()]
    join_booleans(tables)
    train, test = tables[0], tables[1] if len(tables) > 1 else None
    targets = (target,) if isinstance(target, str) else tuple(dict.fromkeys(target))
    inputs = _inputs(train, test, targets, drop)
    check_tables(tables, inputs, targets)
    columns = tuple(_column(name, train, test) for name in inputs)
    settled = _settle_task(task, train, targets)
    by_class = _is_of_classes(settled)
    classes, labels = _classes(targets[0], tables) if by_class else (targets, _targets(targets, tables))
    splits = [Split(_encode_columns(table, columns), label) for table, label in zip(tables, labels, strict=True)]
    known, tested = splits if test else cut(splits[0], 0.2, seed=0, by_class=by_class)
    if not len(tested):
        raise UserError(f"{path}: {len(train.lines)} rows are too few to split off a test set; set data.test_path")
    return TableSet(known, tested, columns, classes, settled, impute=impute, scale=scale, encode=encode, degree=degree)


def _inputs(train: CsvFile, test: CsvFile | None, targets: tuple[str, ...], drop: tuple[str, ...]) -> list[str]:
    """Return the names of the input columns, after checking that all columns exist."""
    for key, names in (("target", targets), ("drop", drop)):
        for name in names:
            if name not in train.cells:
                raise UserError(f"data.{key}: {train.path} has no column {name!r}; {did_you_mean(name, train.cells)}")
            if key == "drop" and name in targets:
                raise UserError(f"data.drop: {name!r} is data.target and cannot be dropped; remove it from data.drop")
    inputs = [name for name in train.cells if name not in {*targets, *drop}]
    if not inputs:
        raise UserError(f"{train.path}: no column is left to predict {targets[0]!r} from")
    for name in (*inputs, *targets):
        if test and name not in test.cells:
            raise UserError(f"data.test_path: {test.path} has no column {name!r}; {did_you_mean(name, test.cells)}")
    return inputs


def _settle_task(task: str, train: CsvFile, targets: tuple[str, ...]) -> str:
    if len(targets) > 1 and task != "auto" and _is_of_classes(task):
        raise UserError(f"data.task=classify takes one data.target, not {len(targets)}")
    return task_of(task, train, targets)


def _is_of_classes(task: str) -> bool:
    return TASKS.build(task).target.single_class


def _targets(names: tuple[str, ...], tables: list[CsvFile]) -> list[Tensor]:
    """Return the numbers to predict of each table: (N, D) float64."""
    return [torch.stack([_numbers(table, name) for name in names], 1) for table in tables]


def _classes(name: str, tables: list[CsvFile]) -> tuple[tuple[str, ...], list[Tensor]]:
    """Return the classes of a target, sorted by name or number, and the labels of each table."""
    train = tables[0]
    numeric = all(train.spelling.number(cell) is not None for cell in train.cells[name])
    words = [[_normalise_number(table, cell) if numeric else cell for cell in table.cells[name]] for table in tables]
    counts = Counter(words[0])
    classes = sorted(counts, key=lambda word: (PLAIN.number(word) if numeric else 0, word))
    if len(classes) < 2:
        raise UserError(
            f"{train.path}: {name!r} is {classes[0]!r} in every row; choose a target with two or more classes"
        )
    for table, column in zip(tables, words, strict=True):
        for row, word in enumerate(column):
            if counts[word] < 2:
                reason = "in one row only" if counts[word] else f"a class that {train.path} does not have"
                hint = " (to predict numbers, set data.task=regress)" if numeric else ""
                raise UserError(
                    f"{table.at(row)}: {name!r} is {word!r}, {reason}; every class needs two rows or more{hint}"
                )
    number = {word: index for index, word in enumerate(classes)}
    return tuple(classes), [torch.tensor([number[word] for word in column]) for column in words]


def _normalise_number(table: CsvFile, cell: str) -> str:
    """Return a number in a canonical form, "1" for 1, 1.0 and 1e0; other text unchanged."""
    number = table.spelling.number(cell)
    if number is None or not math.isfinite(number):
        return cell
    return str(int(number)) if number.is_integer() else repr(number)


def _column(name: str, train: CsvFile, test: CsvFile | None) -> Column:
    """Return a column, numeric or categorical by the training file; its categories are those of both files."""
    cells = train.cells[name]
    known = {cell for cell in cells if cell}
    if not words_in(train, name):
        return Column(name)
    if len(known) == sum(map(bool, cells)) > 1:
        raise UserError(f"{train.path}: {name!r} has a different text in each row, like names; set data.drop=[{name}]")
    return Column(name, tuple(sorted(known.union(test.cells[name] if test else ()) - {""})))


def _encode_columns(table: CsvFile, columns: tuple[Column, ...]) -> Tensor:
    """Return (N, 1, 1, columns) float64: numbers, indices of categories, and nan for missing values."""
    coded = torch.empty(len(table.lines), len(columns), dtype=torch.float64)
    for place, column in enumerate(columns):
        if column.categories:
            code = {"": math.nan} | {word: float(index) for index, word in enumerate(column.categories)}
            coded[:, place] = torch.tensor([code[cell] for cell in table.cells[column.name]], dtype=torch.float64)
        else:
            coded[:, place] = _numbers(table, column.name)
    return coded.view(len(coded), 1, 1, -1)


def _numbers(table: CsvFile, name: str) -> Tensor:
    """Return a numeric column: (N,) float64, nan for missing values."""
    number_in = table.spelling.number
    numbers = [number_in(cell) if cell else math.nan for cell in table.cells[name]]
    for row, (number, cell) in enumerate(zip(numbers, table.cells[name], strict=True)):
        if cell and (number is None or not abs(number) <= LARGEST):
            refuse_other_spelling(table, name)
            raise UserError(f"{table.at(row)}: {name!r} is {cell!r}, but must be a number of at most 3.4e38")
    return torch.tensor(numbers, dtype=torch.float64)
