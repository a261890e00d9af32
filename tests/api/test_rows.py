"""`Run.predict` for runs on tables: rows as arrays, data frames and dictionaries."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dlzoo
from dlzoo.core.errors import Note
from dlzoo.data.splits import Splits
from tests.small import train

QUICK = ["trainer=cpu", "data.batch_size=16", "trainer.max_epochs=2", "model.hidden=[8]", "optimizer=adam"]
COLUMNS = ["size", "colour", "new", "note", "level"]


def write_table(path: Path, count: int = 60, seed: int = 0) -> list[dict[str, str]]:
    """A table with decimal commas, categories, booleans, missing values, and a column that is dropped."""
    numbers = np.random.default_rng(seed)
    rows = []
    for place in range(count):
        size, new, colour = numbers.normal(), numbers.random() < 0.5, numbers.choice(["red", "green", "blue"])
        level = size + 3 * new - 2 * (colour == "red")
        cells = [f"{size:.3f}".replace(".", ","), colour, str(new), f"n{place}", f"{level:.3f}".replace(".", ",")]
        if place % 10 == 3:
            cells[0], cells[1] = "-999", "NA"
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return rows


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dlzoo.Run, list[dict[str, str]]]:
    """A regression on a CSV file of its own for the test split, and the rows of that split."""
    folder = tmp_path_factory.mktemp("table")
    write_table(folder / "train.csv")
    rows = write_table(folder / "test.csv", 30, seed=1)
    words = ["data=csv", f"data.path={folder / 'train.csv'}", f"data.test_path={folder / 'test.csv'}"]
    words += ["data.target=level", "data.decimal=comma", "data.missing=[NA,-999]", "data.drop=[note]", "loss=mse"]
    return train(*words, *QUICK, f"run_dir={folder / 'run'}"), rows


def values(predictions: Any) -> np.ndarray:
    return np.array([[*each.values.values()] for each in predictions], np.float32)


def test_rows_of_a_file_are_predicted_as_in_the_test(fitted: tuple[dlzoo.Run, list[dict[str, str]]]) -> None:
    run, rows = fitted
    expected = np.load(run.dir / "test_predictions.npz")["prediction"]
    assert np.allclose(values(run.predict(rows)), expected, atol=1e-6)
    plain = [{"new": row["new"] == "True", "colour": row["colour"] if row["colour"] != "NA" else None,
              "size": float(row["size"].replace(",", "."))} for row in rows]  # fmt: skip
    assert np.array_equal(values(run.predict(plain)), values(run.predict(rows)))
    listed = [[row["size"], row["colour"], row["new"]] for row in rows]
    assert np.array_equal(values(run.predict(listed)), values(run.predict(rows)))
    assert np.array_equal(values(run.predict(np.array(listed, object))), values(run.predict(rows)))
    assert run.predict(rows[0]) == run.predict(rows[:1])
    network = run.network()
    assert network(network.preprocess(rows)).shape == (30, 1)


def test_a_data_frame_is_rows(fitted: tuple[dlzoo.Run, list[dict[str, str]]]) -> None:
    pandas = pytest.importorskip("pandas")
    run, rows = fitted
    frame = pandas.read_csv(run.dir.parent / "test.csv", sep=";", decimal=",")
    assert frame["colour"].isna().any()
    assert np.array_equal(values(run.predict(frame)), values(run.predict(rows)))
    assert np.array_equal(values(run.predict(frame.convert_dtypes())), values(run.predict(rows)))
    with pytest.raises(
        dlzoo.UserError, match=r"the data frame has no column 'size' that the run .* did you mean 'Size'"
    ):
        run.predict(frame.rename(columns={"size": "Size"}))


@pytest.mark.parametrize("data", ["diabetes", "wine"])
def test_an_array_is_rows(data: str) -> None:
    run = train(f"data={data}", *QUICK, "run_dir=r")
    rows = Splits.load(run.config["data"]).source.test.images[:].flatten(1)
    stored = np.load(run.dir / "test_predictions.npz")["prediction"]
    for form in (rows, rows.numpy(), rows.tolist(), list(rows)):
        found = run.predict(form)
        if data == "diabetes":
            assert np.allclose(values(found), stored, atol=1e-3)
        else:
            assert [each.as_dict()["classes"][0]["name"] for each in found] == [f"class_{each}" for each in stored]
    assert len(run.predict(rows, most=2)) == len(rows)


ROW = {"size": 0.5, "colour": "red", "new": True}
WRONG: dict[str, tuple[Any, str]] = {
    "a missing column": (
        [ROW, {"size": 1, "colour": "red"}],
        r"rows\[1\] has no column 'new' that .*; add it, or None",
    ),
    "a typo": ([{"sise": 1, "colour": "red", "new": True}], r"no column 'size' that .*; did you mean 'sise'\?"),
    "two columns": ([{"new": True}], r"rows\[0\] has no column 'size' and 1 more that the run was trained on"),
    "a word": ([ROW | {"size": "big"}], r"rows\[0\]: 'size' is 'big', but must be a number"),
    "a point": ([ROW | {"size": "0.5"}], r"'size' is '0\.5', but must be a number"),
    "infinity": ([ROW, ROW | {"size": np.inf}], r"rows\[1\]: 'size' is inf, but must be a number of at most 3\.4e38"),
    "too few values": (
        [[1, "red"]],
        r"rows\[0\] has 2 values, but the run was trained on 3 columns: size, colour, new",
    ),
    "one row": ([1, "red", True], r"rows\[0\] is a int, not a row of 3 values; put a single row into a list"),
    "one dimension": (torch.zeros(3), r"rows: an array of rows has the shape \(rows, columns\), not \(3,\)"),
    "three dimensions": (np.zeros((2, 3, 1)), r"rows: an array .*, not \(2, 3, 1\)"),
    "a file": ("test.csv", "rows: a str is not rows of a table; give a 2-D array"),
    "nothing": ([], "rows: there is none"),
    "no rows": (np.zeros((0, 3)), "rows: there is none"),
    "most": ([ROW], "most must be an integer >= 1, not 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_row_is_one_line(case: str, fitted: tuple[dlzoo.Run, list[dict[str, str]]]) -> None:
    rows, message = WRONG[case]
    with pytest.raises(dlzoo.UserError, match=message) as raised:
        fitted[0].predict(rows, most=0 if case == "most" else 5)
    assert "\n" not in str(raised.value)


def test_an_unknown_category_is_noted(fitted: tuple[dlzoo.Run, list[dict[str, str]]]) -> None:
    with pytest.warns(
        Note, match="1 of 2 values of 'colour', such as 'pink', are in none of the rows of the run's data"
    ):
        known, unknown = fitted[0].predict([ROW, ROW | {"colour": "pink"}])
    assert known != unknown


def test_data_that_was_moved_or_changed(fitted: tuple[dlzoo.Run, list[dict[str, str]]], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(path)
    words = ["data=csv", f"data.path={path}", "data.target=level", "data.decimal=comma", "data.missing=[NA,-999]"]
    run = train(*words, "data.drop=[note]", "loss=mse", *QUICK, "run_dir=r")
    expected = run.predict([ROW])
    moved = path.rename(tmp_path / "moved.csv")
    with pytest.raises(dlzoo.UserError, match=r"data\.path: .* no longer exists"):
        dlzoo.load("r").predict([ROW])
    assert dlzoo.load("r").predict([ROW], overrides=[f"data.path={moved}"]) == expected
    write_table(path, 50)
    with pytest.raises(dlzoo.UserError, match="the data has changed since the run was trained, and rows are prepared"):
        dlzoo.load("r").predict([ROW])
