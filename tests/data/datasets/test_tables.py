"""Tables: what is learnt on train alone, files of one's own, and the metrics and pictures of numbers."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn import metrics
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from torch import Tensor

from dlzoo.builder.model import build
from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.split import Split
from dlzoo.data.table_set import Column, TableSet
from dlzoo.tasks.regression.metrics import regression_metrics
from dlzoo.tasks.regression.plots import fitted_curve, predicted_and_true

NAN = float("nan")
COLOURS = ("blue", "green", "red")


def split_of(rows: object) -> Split:
    table = torch.tensor(rows, dtype=torch.float64)
    return Split(table.view(len(table), 1, 1, -1), torch.zeros(len(table), dtype=torch.int64))


def table_of(train: object, test: object, columns: tuple[Column, ...], **how: object) -> TableSet:
    return TableSet(split_of(train), split_of(test), columns, ("a", "b"), "classify", **how)


def rows(split: Split) -> Tensor:
    return split.images.flatten(1)


def numbers(count: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 5, (count, columns))


# The entries


@pytest.mark.parametrize("name", [name for name in DATASETS.names() if DATASETS[name].marks.table])
def test_every_table_makes_finite_features_of_the_labels_that_its_registration_says(name: str, tmp_path: Path) -> None:
    settings = {}
    if name == "csv":
        lines = [f"{i % 7},{'' if i % 5 == 0 else COLOURS[i % 3]},{i * 0.5}" for i in range(30)]
        (tmp_path / "my.csv").write_text("\n".join(["size,colour,price", *lines]))
        settings = {"path": str(tmp_path / "my.csv"), "target": "price"}
    table, again = build("data", name, **settings), build("data", name, **settings)
    learnt, marks = table.fit_preparation(table.train), DATASETS[name].marks
    for part in (table.train, table.test):
        features = learnt(part).images
        assert features.dtype == torch.float32
        assert features.shape == (len(part), 1, 1, len(learnt.names))
        assert features.isfinite().all()
    assert table.task == ("regress" if table.train.labels.is_floating_point() else "classify")
    assert table.task in marks.tasks
    assert (marks.loss is not None) == (marks.tasks == ("regress",))
    if table.train.labels.is_floating_point():
        assert table.train.labels.shape == (len(table.train), len(table.classes))
    else:
        assert table.train.labels.unique().tolist() == list(range(len(table.classes)))
    assert torch.equal(table.train.images.nan_to_num(), again.train.images.nan_to_num())
    assert torch.equal(table.test.labels, again.test.labels)


def test_the_fifth_that_tests_is_fixed_and_every_row_is_there_once() -> None:
    table = build("data", "diabetes")
    assert (len(table.train), len(table.test)) == (354, 88)
    both = torch.cat([torch.cat([rows(part), part.labels.double()], 1) for part in (table.train, table.test)]).numpy()
    features, targets = load_diabetes(return_X_y=True, scaled=False)
    published = np.column_stack([features, targets])
    assert np.array_equal(both[np.lexsort(both.T)], published[np.lexsort(published.T)])
    assert build("data", "wine").test.labels.bincount().tolist() == [12, 14, 10]  # of 59, 71, 48


def test_the_sine_is_a_sine_with_its_noise_and_its_outliers_are_in_train_only() -> None:
    clean = build("data", "sine", samples=4000, noise=0.0)
    for part in (clean.train, clean.val, clean.test):
        x = part.images.flatten().numpy()
        assert -1 <= x.min() < -0.95 < 0.95 < x.max() < 1
        np.testing.assert_allclose(part.labels.flatten(), np.sin(2 * np.pi * x), atol=1e-6)
    noisy = build("data", "sine", samples=4000, noise=0.5)
    noise = (noisy.train.labels - clean.train.labels).flatten()
    assert noise.mean().abs() < 4 * 0.5 / 4000**0.5
    assert noise.std().item() == pytest.approx(0.5, rel=0.05)
    assert torch.quantile(noise, 0.975).item() == pytest.approx(1.96 * 0.5, rel=0.06)  # as of a normal distribution
    far = build("data", "sine", samples=4000, noise=0.5, outliers=0.1)
    moved = far.train.labels - noisy.train.labels
    assert (moved > 4.9).sum() == 400
    assert (moved == 0).sum() == 3600
    assert torch.equal(far.test.labels, noisy.test.labels)
    assert torch.equal(far.val.labels, noisy.val.labels)


def test_a_smaller_sine_is_the_beginning_of_a_larger_one_and_another_draw_is_another() -> None:
    small, large = build("data", "sine", samples=10), build("data", "sine", samples=100)
    assert torch.equal(small.train.labels, large.train.labels[:10])
    assert torch.equal(small.test.images, large.test.images)
    assert not torch.equal(build("data", "sine", samples=10, draw=1).train.images, small.train.images)


# Features


@pytest.mark.parametrize(
    ("scale", "scaler"), [("standard", StandardScaler), ("minmax", MinMaxScaler), ("robust", RobustScaler)]
)
@pytest.mark.parametrize(
    ("impute", "fill"), [("mean", np.nanmean), ("median", np.nanmedian), ("most_frequent", lambda a, axis: a[2])]
)
def test_features_equal_sklearn_by_hand(scale: str, scaler: type, impute: str, fill: object) -> None:
    train, test = numbers(40, 3), numbers(10, 3, seed=1)
    train[2] = train[3]  # what is most frequent
    train[5, 0] = train[7, 1] = test[0, 2] = NAN
    table = table_of(train, test, (Column("a"), Column("b"), Column("c")), impute=impute, scale=scale)
    filled = fill(train, axis=0)
    fitted = scaler().fit(np.where(np.isnan(train), filled, train))
    learnt = table.fit_preparation(table.train)
    for part, values in ((table.train, train), (table.test, test)):
        expected = fitted.transform(np.where(np.isnan(values), filled, values))
        np.testing.assert_allclose(rows(learnt(part)), expected, rtol=1e-5, atol=1e-6)


def test_what_is_learnt_is_learnt_on_the_part_that_is_given() -> None:
    train = [[1.0, 0], [NAN, 1], [2.0, 1], [9.0, NAN]]
    columns = (Column("a"), Column("colour", COLOURS))
    usual = table_of(train, [[NAN, NAN]], columns, impute="median", scale="none")
    other = table_of(train, [[1e6, 2], [-1e6, 2]], columns, impute="median", scale="none")
    learnt = usual.fit_preparation(usual.train)
    assert torch.equal(rows(learnt(usual.train)), rows(other.fit_preparation(other.train)(other.train)))
    assert rows(learnt(usual.test)).tolist() == [[2.0, 0.0, 1.0]]  # the median; the colour that is most frequent
    standard = table_of(train, [[1e6, 2]], columns)
    centred = rows(standard.fit_preparation(standard.train)(standard.train))[:, 0]
    assert centred.mean().item() == pytest.approx(0, abs=1e-6)
    assert centred.std(correction=0).item() == pytest.approx(1)
    # A part of train, as a cut for validation leaves it, has its own statistics.
    assert rows(usual.fit_preparation(usual.train.take(torch.tensor([0, 1])))(usual.test))[0, 0] == 1


def test_one_hot_columns_are_named_and_an_unknown_category_is_zero_in_all() -> None:
    table = table_of([[0, 5.0], [2, 6.0], [0, 7.0]], [[1, 5.0], [2, 5.0]], (Column("colour", COLOURS), Column("size")))
    learnt = table.fit_preparation(table.train)
    assert learnt.names == ("size", "colour=blue", "colour=red")
    assert rows(learnt(table.train))[:, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert rows(learnt(table.test))[:, 1:].tolist() == [[0, 0], [0, 1]]


def test_an_unknown_category_has_an_ordinal_code_of_its_own() -> None:
    columns = (Column("colour", COLOURS),)
    table = table_of([[0], [2], [0]], [[1], [2], [0]], columns, encode="ordinal", scale="none")
    learnt = table.fit_preparation(table.train)
    assert learnt.names == ("colour",)
    assert rows(learnt(table.test)).flatten().tolist() == [-1, 1, 0]
    scaled = table_of([[0], [2], [0]], [[1], [2], [0]], columns, encode="ordinal")
    assert rows(scaled.fit_preparation(scaled.train)(scaled.test)).unique().numel() == 3


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "none"])
@pytest.mark.parametrize("impute", ["mean", "median", "most_frequent"])
@pytest.mark.parametrize("encode", ["one_hot", "ordinal"])
def test_columns_that_say_nothing_in_train_break_nothing(scale: str, impute: str, encode: str) -> None:
    """All missing, constant, all missing categories, one category."""
    columns = (Column("a"), Column("b"), Column("c", COLOURS), Column("d", COLOURS))
    train = [[NAN, 7.1, NAN, 1], [NAN, 7.1, NAN, 1], [NAN, 7.1, NAN, NAN]]
    table = table_of(
        train, [[3.0, NAN, 2, 0], [NAN, 1e9, NAN, NAN]], columns, scale=scale, impute=impute, encode=encode
    )
    learnt = table.fit_preparation(table.train)
    assert rows(learnt(table.train)).isfinite().all()
    assert rows(learnt(table.test)).isfinite().all()
    assert (rows(learnt(table.train)) == rows(learnt(table.train))[0]).all()


def test_a_degree_makes_the_products_of_numbers_before_they_are_scaled() -> None:
    train, test = numbers(30, 2), numbers(5, 2, seed=1)
    categories = np.arange(30)[:, None] % 3
    columns = (Column("a"), Column("b"), Column("colour", COLOURS))
    table = table_of(
        np.hstack([train, categories]), np.hstack([test, categories[:5]]), columns, degree=3, impute="median"
    )
    learnt, powers = table.fit_preparation(table.train), PolynomialFeatures(3, include_bias=False)
    fitted = StandardScaler().fit(powers.fit_transform(train))
    np.testing.assert_allclose(rows(learnt(table.test))[:, :9], fitted.transform(powers.transform(test)), rtol=1e-5)
    assert learnt.names[:9] == tuple(powers.get_feature_names_out(["a", "b"]))
    assert learnt.names[9:] == tuple(f"colour={colour}" for colour in COLOURS)


@pytest.mark.parametrize(
    ("largest", "how"), [(1e30, {"degree": 2, "scale": "none"}), (1e30, {"degree": 20}), (1e200, {"scale": "none"})]
)
def test_powers_that_overflow_are_one_line(largest: float, how: dict) -> None:
    table = table_of([[1.0], [2.0]], [[largest]], (Column("a"),), **how)
    with pytest.raises(UserError, match="too large for float32"):
        table.fit_preparation(table.train)(table.test)
    with pytest.raises(UserError, match="too large for float32"):
        table.fit_preparation(table.test)(table.test)


def test_too_many_features_are_one_line_and_not_a_full_memory() -> None:
    with pytest.raises(UserError, match=r"211,915,131 features.*data\.degree below 9"):
        table = build("data", "breast_cancer", degree=9)
        table.fit_preparation(table.train)
    table = table_of([[0], [1]], [[0]], (Column("word", tuple(map(str, range(10_001)))),))
    with pytest.raises(UserError, match=r"10,001 features.*data\.encode=ordinal"):
        table.fit_preparation(table.train)


# Files of one's own


def written(folder: Path, text: str | bytes, name: str = "my.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def mixed(count: int = 40) -> list[list[str]]:
    """id, size, colour, price, kind; some sizes and colours are missing."""
    return [
        [f"n{i}", "?" if i % 9 == 0 else str(i / 4), "" if i % 7 == 0 else COLOURS[i % 3], str(i * 1.5), "xyz"[i % 2]]
        for i in range(count)
    ]


def text_of(cells: list[list[str]], mark: str = ",") -> str:
    return "\n".join(mark.join(row) for row in [["id", "size", "colour", "price", "kind"], *cells]) + "\n"


@pytest.mark.parametrize(("delimiter", "mark"), [("comma", ","), ("semicolon", ";"), ("tab", "\t"), ("bar", "|")])
def test_a_file_comes_back_as_it_was_written(tmp_path: Path, delimiter: str, mark: str) -> None:
    cells = mixed()
    path = written(tmp_path, text_of(cells, mark))
    table = build("data", "csv", path=path, target="kind", drop=("id",))
    assert table.classes == ("x", "y")
    assert table.columns == (Column("size"), Column("colour", COLOURS), Column("price"))
    found = {}
    for part in (table.train, table.test):
        for row, label in zip(rows(part).tolist(), part.labels.tolist(), strict=True):
            found[row[2]] = (row[0], row[1], label)
    assert len(found) == 40
    for _, size, colour, price, kind in cells:
        number, code, label = found[float(price)]
        assert np.array_equal(number, NAN if size == "?" else float(size), equal_nan=True)
        assert np.array_equal(code, NAN if not colour else COLOURS.index(colour), equal_nan=True)
        assert table.classes[label] == kind
    assert table.test.labels.bincount().tolist() == [4, 4]
    named = build("data", "csv", path=path, target="kind", drop=("id",), delimiter=delimiter)
    assert torch.equal(named.train.images.nan_to_num(), table.train.images.nan_to_num())


def test_quoted_cells_spaces_a_byte_order_mark_and_empty_lines(tmp_path: Path) -> None:
    rows_ = ['"a, ""big"" one", 1 ,x', '"two\nlines","2",y', "", '"a, ""big"" one",NA,x', '"two\r\nlines",3, y']
    text = "\ufeff" + "\r\n".join(['"what, and how", size ,kind', *rows_ * 5, ""])
    table = build("data", "csv", path=written(tmp_path, text), target="kind")
    assert table.columns[0] == Column("what, and how", ('a, "big" one', "two\nlines", "two\r\nlines"))
    assert table.columns[1] == Column("size")
    assert table.classes == ("x", "y")
    assert len(table.train) + len(table.test) == 20
    # A row is where it begins, after cells of several lines and empty lines.
    with pytest.raises(UserError, match=r"my\.csv:7: the row has 2 cells"):
        build("data", "csv", path=written(tmp_path, text.replace(",3, y", ",3", 1)), target="kind")


def test_a_decimal_comma_and_text_do_not_decide_on_the_delimiter(tmp_path: Path) -> None:
    text = "a;b;kind\n" + "".join(f"{i};'1,{i % 2},|,{i % 2}';{'xy'[i % 2]}\n" for i in range(10))
    assert len(build("data", "csv", path=written(tmp_path, text), target="kind").columns) == 2
    quoted = text.replace("a;b;kind", '"a, and so on, ""of it""";"b";"kind"')
    assert len(build("data", "csv", path=written(tmp_path, quoted), target="kind").columns) == 2


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (["0.5", "1.5", "2.5"], "regress"),
        (["1", "2", "3"], "classify"),
        (["1.0", "2.0", "2.0"], "classify"),
        ([str(number) for number in range(20)], "classify"),
        ([str(number) for number in range(21)], "regress"),
        (["low", "1", "2"], "classify"),
    ],
)
def test_the_task_is_seen_by_the_target(tmp_path: Path, targets: list[str], task: str) -> None:
    path = written(tmp_path, "x,y\n" + "".join(f"{i},{targets[i % len(targets)]}\n" for i in range(60)))
    table = build("data", "csv", path=path, target="y")
    assert ("regress" if table.train.labels.is_floating_point() else "classify") == task
    if task == "classify":
        assert sorted(table.classes) == sorted({target.removesuffix(".0") for target in targets})
        asked = build("data", "csv", path=path, target="y", task="regress") if "low" not in targets else None
        assert asked is None or asked.train.labels.dtype == torch.float64
    else:
        assert not build("data", "csv", path=path, target="y", task="classify").train.labels.is_floating_point()


def test_a_number_is_one_class_however_it_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y\n" + "".join(f"{i},{('0', '1', '0.0', '1e0')[i % 4]}\n" for i in range(40)))
    table = build("data", "csv", path=path, target="y")
    assert table.classes == ("0", "1")
    assert torch.cat([table.train.labels, table.test.labels]).bincount().tolist() == [20, 20]


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y\n" + "".join(f"{i},{(2, 10, 9)[i % 3]}\n" for i in range(30)))
    assert build("data", "csv", path=path, target="y").classes == ("2", "9", "10")


def test_several_targets_are_numbers_to_predict(tmp_path: Path) -> None:
    path = written(tmp_path, "x,a,b\n" + "".join(f"{i},{i},{-i}\n" for i in range(20)))
    table = build("data", "csv", path=path, target=("b", "a"))
    assert table.classes == ("b", "a")
    assert torch.equal(table.train.labels[:, 0], -table.train.labels[:, 1])
    assert torch.equal(table.train.labels[:, 1], rows(table.train)[:, 0].float())


def test_a_test_file_is_the_test_split_and_changes_nothing_in_train(tmp_path: Path) -> None:
    path = written(tmp_path, "x,c,y\n" + "".join(f"{i},{'ab'[i % 2]},{'no' if i % 3 else 'yes'}\n" for i in range(12)))
    tests = written(tmp_path, "y,note,c,x\nyes,hello,b,100\nno,,aa,\n", "test.csv")
    table = build("data", "csv", path=path, target="y", test_path=tests)
    assert (len(table.train), len(table.test)) == (12, 2)
    assert table.classes == ("no", "yes")
    assert table.test.labels.tolist() == [1, 0]
    learnt = table.fit_preparation(table.train)
    assert learnt.names == ("x", "c=a", "c=b")
    mean, deviation = np.arange(12).mean(), np.arange(12).std()
    np.testing.assert_allclose(rows(learnt(table.test)), [[(100 - mean) / deviation, 0, 1], [0, 0, 0]], rtol=1e-6)


GOOD = text_of(mixed())
STRAY = GOOD.replace("9.75", "n.a.")


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        (GOOD, {"path": None}, "data=csv needs data.path"),
        (GOOD, {"target": None}, "data.target=<column to predict>"),
        (GOOD, {"target": ()}, "data.target=<column to predict>"),
        (GOOD, {"path": "nowhere.csv"}, "data.path: nowhere.csv: cannot be read (no such file"),
        (GOOD, {"path": "."}, "data.path: .: cannot be read (is a directory"),
        (GOOD, {"test_path": "nowhere.csv"}, "data.test_path: nowhere.csv: cannot be read (no such file"),
        ("", {}, "my.csv: the file is empty"),
        ("\n\n", {}, "my.csv: the file is empty"),
        ("id,kind\n", {}, "my.csv: the file has a header but no rows"),
        ("1,2,3\n4,5,6\n", {}, "my.csv:1: the first row has only numbers"),
        (",kind\n0,x\n", {}, "my.csv:1: column 1 has no name"),
        ("\na,b,a,kind\n1,2,3,x\n", {}, "my.csv:2: 2 columns are named 'a'"),
        (GOOD + "n41,1\n", {}, "my.csv:42: the row has 2 cells, but the header has 5"),
        (GOOD + "n41,1,red,2,x,y\n", {}, "my.csv:42: the row has 6 cells"),
        (GOOD + 'n41,1,"red,2,x\n', {}, "my.csv:42: unexpected end of data"),
        (GOOD + 'n41,1,"red"ish,2,x\n', {}, "my.csv:42: ',' expected after '\"'"),
        (GOOD.encode() + b"n41,1,caf\xe9,2,x\n", {}, "my.csv: not UTF-8 text (line 42)"),
        (GOOD.encode("utf-16"), {}, "my.csv: not UTF-8 text (line 1)"),
        (GOOD, {"target": "knd"}, "data.target: {path} has no column 'knd'; did you mean 'kind'?"),
        (GOOD, {"drop": ("id", "sise")}, "data.drop: {path} has no column 'sise'; did you mean 'size'?"),
        (GOOD, {"drop": ("kind", "id")}, "data.drop: 'kind' is data.target"),
        (GOOD, {"drop": ("id", "size", "colour", "price")}, "no column is left to predict 'kind' from"),
        (GOOD, {"drop": ()}, "'id' has a different text in each row, like names; set data.drop=[id]"),
        (GOOD + "n41,1,red,2,\nn42,1,red,2,NA\n", {}, "the target 'kind' is missing in 2 of 42 rows; fill in"),
        (GOOD + "n41,1,red,2,\nn42,1,red,2,NA\n", {}, "remove line 42, 43"),
        (GOOD + "n41,1,red,2,?\n" * 7, {}, "remove line 42, 43, 44, 45, 46, ..."),
        (GOOD.replace(",y\n", ",x\n"), {}, "'kind' is 'x' in every row"),
        (GOOD + "n41,1,red,2,z\n", {}, "my.csv:42: 'kind' is 'z', in one row only"),
        (GOOD + "n41,1e999,red,2,x\n", {}, "my.csv:42: 'size' is '1e999', but must be a number of at most 3.4e38"),
        (GOOD + "n41,-inf,red,2,x\n", {}, "my.csv:42: 'size' is '-inf'"),
        (GOOD + "n41,1e39,red,2,x\n", {}, "my.csv:42: 'size' is '1e39'"),
        (GOOD + "n41,nan,red,2,x\n", {"missing": ("?",)}, "my.csv:42: 'size' is 'nan'"),
        (GOOD + "n41,1,red,inf,x\n", {"target": "price"}, "my.csv:42: 'price' is 'inf'"),
        (STRAY, {}, "my.csv:41: 'size' is 'n.a.', among 34 different numbers"),
        (STRAY, {"target": "size", "missing": ("NA",)}, "among 34 different numbers"),
        (GOOD, {"target": "colour", "task": "regress"}, "the target 'colour' is missing in"),
        (GOOD, {"target": "kind", "task": "regress"}, "my.csv:2: 'kind' is 'x', but must be a number"),
        (GOOD, {"target": ("price", "kind")}, "my.csv:2: 'kind' is 'x', but must be a number"),
        (GOOD, {"target": ("price", "kind"), "task": "classify"}, "data.task=classify takes one data.target, not 2"),
        ("a,y\n1,0.5\n2,0.7\n", {"target": "y"}, "2 rows are too few to split off a test set"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(tmp_path: Path, text: str | bytes, settings: dict, says: str) -> None:
    path = written(tmp_path, text)
    drop = ("id",) if text[:2] in ("id", b"id") else ()
    with pytest.raises(UserError) as error:
        build("data", "csv", **{"path": path, "target": "kind", "drop": drop} | settings)
    assert says.format(path=path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("size,kind\n1,x\n", "data.test_path: {path} has no column 'colour'"),
        ("size,colour,price\n1,red,2\n", "data.test_path: {path} has no column 'kind'"),
        ("size,colour,price,kind\nbig,red,2,x\n", "test.csv:2: 'size' is 'big', but must be a number"),
        ("size,colour,price,kind\n1,red,2,x\n1,red,2,z\n", "test.csv:3: 'kind' is 'z', a class that"),
        ("size,colour,price,kind\n1,red,2,\n", "test.csv: the target 'kind' is missing in 1 of 1 rows"),
    ],
)
def test_a_bad_test_file_is_one_line_that_says_where(tmp_path: Path, text: str, says: str) -> None:
    path, tests = written(tmp_path, GOOD), written(tmp_path, text, "test.csv")
    with pytest.raises(UserError) as error:
        build("data", "csv", path=path, target="kind", drop=("id",), test_path=tests)
    assert says.format(path=tests) in str(error.value)


# Numbers in local spelling

NBSP, NARROW, MINUS = "\u00a0", "\u202f", "\u2212"
#: Spelling -> (cells, the numbers that they are, what is to be typed).
SPELLED = {
    "comma": (["0,5", "1,25", "-3,0", "7"], [0.5, 1.25, -3, 7], "data.decimal=comma"),
    "comma, exponent": (["1,5e3", ",5", "+2,"], [1500, 0.5, 2], "data.decimal=comma"),
    "comma with zeros": (["0,125", "0,500", "1,250"], [0.125, 0.5, 1.25], "data.decimal=comma"),
    "thousands": (["1,500", "12,000", "1,234,567"], [1500, 12000, 1234567], "data.thousands=comma"),
    "thousands and fractions": (["1,500.25", "900.5", "7"], [1500.25, 900.5, 7], "data.thousands=comma"),
    "of India": (["1,00,000", "12,34,567.5"], [100000, 1234567.5], "data.thousands=comma"),
    "point and comma": (["1.500,25", "12.000", "3"], [1500.25, 12000, 3], "data.decimal=comma data.thousands=point"),
    "millions": (["1.500.000", "2.000.000"], [1.5e6, 2e6], "data.decimal=comma data.thousands=point"),
    "space": (["1 500", f"2{NBSP}500", f"3{NARROW}500.5"], [1500, 2500, 3500.5], "data.thousands=space"),
    "space and comma": (
        [f"1{NARROW}500,5", "2 000", "0,5"],
        [1500.5, 2000, 0.5],
        "data.decimal=comma data.thousands=space",
    ),
    "of Switzerland": (["1'500", "2\u2019500.5"], [1500, 2500.5], "data.thousands=apostrophe"),
    "minus and comma": ([f"{MINUS}0,5", "0,5", "1,5"], [-0.5, 0.5, 1.5], "data.decimal=comma"),
}


def spelled(folder: Path, cells: list[str], count: int = 40) -> str:
    """A file with the cells, in turn, as the column v beside the classes of y."""
    return written(folder, "v;y\n" + "".join(f"{cells[i % len(cells)]};{'ab'[i % 2]}\n" for i in range(count)))


@pytest.mark.parametrize("name", SPELLED)
def test_numbers_in_another_spelling_are_one_line_that_says_what_to_type(tmp_path: Path, name: str) -> None:
    cells, numbers_, typed = SPELLED[name]
    path = spelled(tmp_path, cells)
    for rest in ({"target": "y"}, {"target": "v"}, {"target": "v", "task": "regress"}, {"target": ("v", "w")}):
        if rest["target"] == ("v", "w"):
            path = written(tmp_path, "v;w;y\n" + "".join(f"{cells[i % len(cells)]};{i};a\n" for i in range(40)))
        with pytest.raises(UserError, match=r"my\.csv:\d+: 'v' is .*, which looks like a number; set ") as error:
            build("data", "csv", path=path, **rest)
        assert typed in str(error.value)
        assert "\n" not in str(error.value)
    settings = dict(word.removeprefix("data.").split("=") for word in typed.split())
    path = spelled(tmp_path, cells, 6 * len(cells))
    table = build("data", "csv", path=path, target="v", task="regress", **settings)
    assert {*table.train.labels.flatten().tolist(), *table.test.labels.flatten().tolist()} == set(numbers_)
    assert build("data", "csv", path=path, target="y", **settings).columns == (Column("v"),)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["$1.50", "$2", "-$3.25"], "a number with a currency sign; remove the sign from the column"),
        (["1,50 \u20ac", "2,25 \u20ac"], "currency sign; remove the sign from the column, and set data.decimal=comma"),
        (["$1,500.00", "$12,000.50"], "currency sign; remove the sign from the column, and set data.thousands=comma"),
        (["5%", "10%", "7.5 %"], "a number with a percent sign; remove the sign from the column"),
        (["5,5 %", "10,5 %"], "percent sign; remove the sign from the column, and set data.decimal=comma"),
        (["5 EUR", "7.50 EUR"], "a number with the unit EUR; remove the unit from the column"),
        (
            ["EUR 5,50", "EUR 7"],
            "a number with the unit EUR; remove the unit from the column, and set data.decimal=comma",
        ),
        (["3kg", "4 kg", "500 g"], "a number with the unit kg; remove the unit from the column"),
        (["10 cm", "20 cm"], "a number with the unit cm; remove the unit from the column"),
        (["21 \u00b0C", f"{MINUS}3.5 \u00b0C"], "a number with the unit \u00b0C; remove the unit from the column"),
        ([f"{i}qm" for i in range(25)], "a number with the unit qm; remove the unit from the column"),
        (["(1.5)", "2.5", "3"], "which may be a negative number; write -1.5, or 1.5 if it is not negative"),
        (["(1,234.5)", "2,500"], "write -1,234.5, or 1,234.5 if it is not negative, and set data.thousands=comma"),
        (["$(7)", "($8)", "$9"], "which may be a negative number; write -7, or 7 if it is not negative"),
        (["5-", "6"], "which may be a negative number; write -5, or 5 if it is not negative"),
    ],
)
def test_signs_are_to_be_removed(tmp_path: Path, cells: list[str], says: str) -> None:
    for target in ("y", "v"):
        with pytest.raises(UserError) as error:
            build("data", "csv", path=spelled(tmp_path, cells), target=target)
        assert str(error.value).startswith(f"{tmp_path}/my.csv:2: 'v' is {cells[0]!r}, ")
        assert str(error.value).endswith(says)


def test_what_may_be_both_says_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set data\.thousands=comma \(or data\.decimal=comma, if it is 1\.5\)"):
        build("data", "csv", path=spelled(tmp_path, ["1,500", "2,250"]), target="y")


def test_a_few_words_among_spelled_numbers_do_not_make_categories(tmp_path: Path) -> None:
    cells = ["n.a.", *(f"{i},5" for i in range(30))]
    with pytest.raises(UserError, match=r"my\.csv:3: 'v' is '0,5', .* set data\.decimal=comma"):
        build("data", "csv", path=spelled(tmp_path, cells, 62), target="y")
    with pytest.raises(UserError, match=r"'v' is 'n\.a\.', among 30 different numbers; .* data\.missing"):
        build("data", "csv", path=spelled(tmp_path, cells, 62), target="y", decimal="comma")


@pytest.mark.parametrize(
    ("decimal", "thousands", "cells"),
    [("comma", "none", ["0.5", "1.5"]), ("comma", "point", ["0.5", "1.25"]), ("point", "space", ["0,5", "1,5"])],
)
def test_a_wrong_setting_is_not_guessed_around(tmp_path: Path, decimal: str, thousands: str, cells: list[str]) -> None:
    with pytest.raises(UserError, match=r"'v' is '0.5', which looks like a number; set data\.decimal="):
        build("data", "csv", path=spelled(tmp_path, cells), target="y", decimal=decimal, thousands=thousands)


@pytest.mark.parametrize(
    ("cells", "first", "other"),
    [
        (["1,5", "1.5", "2.5"], "1,5", "1.5"),
        (["1", "2", "3", "0.5", "0,25"], "0,25", "0.5"),
        (["1.234,5", "7.5", "0,5"], "1.234,5", "7.5"),
        ([*(f"{i}.5" for i in range(19)), "1,5"], "1,5", "0.5"),
    ],
)
def test_numbers_in_two_spellings_are_one_line(tmp_path: Path, cells: list[str], first: str, other: str) -> None:
    for target in ("y", "v"):
        with pytest.raises(UserError) as error:
            build("data", "csv", path=spelled(tmp_path, cells), target=target)
        says = (
            f"'v' is {first!r}, which looks like a number, but {other!r} in the same column is written in another way"
        )
        assert says in str(error.value)


def test_one_mark_cannot_be_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.decimal and data\.thousands are both comma"):
        build("data", "csv", path=spelled(tmp_path, ["1"]), target="y", decimal="comma", thousands="comma")


def test_a_minus_of_a_word_processor_is_a_minus(tmp_path: Path) -> None:
    table = build("data", "csv", path=spelled(tmp_path, [f"{MINUS}1", "2", f"{MINUS}0.5"]), target="v", task="regress")
    assert table.train.labels.unique().tolist() == [-1, -0.5, 2]


@pytest.mark.parametrize(
    "cells", [["a,5", "b,5"], ["1-2", "3-4"], ["1.2.3", "1.2.4"], ["2D", "3D"], ["v1", "v2"], ["1st", "2nd"]]
)
def test_words_with_digits_remain_categories(tmp_path: Path, cells: list[str]) -> None:
    assert build("data", "csv", path=spelled(tmp_path, cells), target="y").columns == (Column("v", tuple(cells)),)


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["True", "TRUE", "true", "False", "FALSE", "false"], ("false", "true")),
        (["Yes", "yes", "No", ""], ("no", "yes")),
        (["True", "False"], ("False", "True")),
        (["True", "true", "Maybe"], ("Maybe", "True", "true")),
    ],
)
def test_booleans_in_any_case_are_one_category(tmp_path: Path, cells: list[str], names: tuple[str, ...]) -> None:
    path = spelled(tmp_path, cells, 60)
    assert build("data", "csv", path=path, target="y").columns == (Column("v", names),)
    if "" not in cells:
        assert build("data", "csv", path=path, target="v").classes == names


@pytest.mark.parametrize(
    ("cells", "first", "other"),
    [
        (["yes", "true", "no", "false"], "yes", "true"),
        (["True", "False", "1", "TRUE"], "True", "1"),
        (["0", "1", "no", "YES"], "0", "no"),
        (["Y", "n", "yes"], "Y", "yes"),
    ],
)
def test_booleans_in_two_notations_are_one_line(tmp_path: Path, cells: list[str], first: str, other: str) -> None:
    for rest in ({"target": "y"}, {"target": "v"}, {"target": "v", "task": "classify"}):
        with pytest.raises(UserError, match=rf"my\.csv:\d: 'v' is '{other}', but '{first}' in other rows; write true"):
            build("data", "csv", path=spelled(tmp_path, cells), **rest)
    path = spelled(tmp_path, [*cells, "unknown"])  # words that are no booleans, then
    assert "unknown" in build("data", "csv", path=path, target="y").columns[0].categories


def test_a_column_without_a_value_is_a_note_and_such_a_target_an_error(tmp_path: Path) -> None:
    text = "x,e,f,y\n" + "".join(f"{i},,NA,{'ab'[i % 2]}\n" for i in range(30))
    path = written(tmp_path, text)
    with pytest.warns(Note, match=r"my\.csv: the columns are missing in every row: 'e', 'f'; .*data\.drop=\[e,f\]"):
        build("data", "csv", path=path, target="y")
    tests = written(tmp_path, "x,y\n,a\n,b\n", "test.csv")
    with pytest.warns(Note, match=r"test\.csv: the column is missing in every row: 'x'"):
        build("data", "csv", path=path, target="y", test_path=tests, drop=("e", "f"))
    for target in ("e", "f"):
        with pytest.raises(UserError, match=rf"the target '{target}' is missing in every row; choose another"):
            build("data", "csv", path=path, target=target)


def test_booleans_of_a_test_file_are_those_of_train(tmp_path: Path) -> None:
    tests = written(tmp_path, "v;y\nTRUE;a\nFALSE;b\n", "test.csv")
    table = build("data", "csv", path=spelled(tmp_path, ["True", "False"]), target="y", test_path=tests)
    assert table.columns == (Column("v", ("false", "true")),)
    assert rows(table.test).tolist() == [[1], [0]]


@pytest.mark.parametrize("missing", [(-999,), (-999.0,), ("-999",), ("-999.0",), ("-9.99e2",)])
@pytest.mark.parametrize("cell", ["-999", "-999.0", f"{MINUS}999"])
def test_a_number_is_missing_however_it_is_written(tmp_path: Path, missing: tuple, cell: str) -> None:
    table = build("data", "csv", path=spelled(tmp_path, ["1", cell, "2"], 30), target="y", missing=missing)
    found = torch.cat([rows(table.train), rows(table.test)]).flatten()
    assert found.isnan().sum() == 10
    assert found[~found.isnan()].unique().tolist() == [1, 2]


@pytest.mark.parametrize("word", ["NA", "na", "null"])
def test_a_class_that_is_a_word_for_missing_says_how_to_keep_it(tmp_path: Path, word: str) -> None:
    path = written(tmp_path, "x,y\n" + "".join(f"{i},{(word, 'US', 'DE')[i % 3]}\n" for i in range(60)))
    with pytest.raises(UserError, match=rf"20 of 60 .*; if '{word}' is meant as a class, set data\.missing=\[\]"):
        build("data", "csv", path=path, target="y")
    assert word in build("data", "csv", path=path, target="y", missing=()).classes
    empty = written(tmp_path, "x,y\n1,\n2,a\n3,b\n")
    with pytest.raises(UserError, match=r"remove line 2$"):
        build("data", "csv", path=empty, target="y")


# Metrics and pictures of numbers


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_regression_metrics_equal_sklearn(targets: int, offset: float, unit: float) -> None:
    draw = np.random.default_rng(0)
    true = unit * (draw.normal(size=(200, targets)) * np.arange(1, targets + 1)) + offset
    said = true + unit * draw.normal(size=true.shape) * 0.3
    found = regression_metrics(torch.from_numpy(said), torch.from_numpy(true))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, said))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(true, said))
    assert found["r2"] == pytest.approx(metrics.r2_score(true, said))
    single = regression_metrics(torch.from_numpy(said).float(), torch.from_numpy(true).float())
    rounded = metrics.r2_score(true.astype(np.float32).astype(float), said.astype(np.float32).astype(float))
    assert single["r2"] == pytest.approx(rounded)


def test_r2_of_a_constant_target_is_one_if_it_is_met_and_zero_if_not() -> None:
    true = torch.tensor([[0.1, 4.0], [0.1, 5.0], [0.1, 6.0]])
    met, missed = true.clone(), true.clone()
    missed[0, 0] = 0.2
    assert regression_metrics(met, true)["r2"] == 1
    assert regression_metrics(missed, true)["r2"] == 0.5 == metrics.r2_score(true, missed)
    assert regression_metrics(true[:1], true[:1])["r2"] == 1
    assert regression_metrics(missed[:1, :1], true[:1, :1])["r2"] == 0


def drawn(figure: Figure) -> list[list[str]]:
    """The words of each panel, after it was drawn without a complaint."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(BytesIO(), format="png", dpi=20)
    return [[axes.get_title(), axes.get_xlabel(), axes.get_ylabel()] for axes in figure.axes]


def test_predictions_are_drawn_against_the_truth_with_a_panel_for_each_of_four_targets() -> None:
    true = torch.arange(60.0).view(10, 6)
    said = true + torch.tensor([0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    figure = predicted_and_true(said, true, ["height", *"bcdef"])
    panels = drawn(figure)
    assert len(panels) == 8
    assert panels[0] == ["R² 1.000, RMSE 0", "", "predicted"]
    assert panels[4] == ["", "true height", "predicted - true"]
    assert panels[1][0].endswith("RMSE 3")
    assert "4 of 6 targets" in figure.get_suptitle()
    assert np.array_equal(figure.axes[1].collections[0].get_offsets(), np.column_stack([true[:, 1], said[:, 1]]))
    assert np.array_equal(figure.axes[5].collections[0].get_offsets(), np.column_stack([true[:, 1], [3] * 10]))


def test_a_fitted_curve_goes_from_left_to_right() -> None:
    x = torch.tensor([3.0, 1.0, 2.0])
    figure = fitted_curve(x.view(3, 1), x.view(3, 1) ** 2, x.view(3, 1) + 1)
    assert drawn(figure)[0][1:] == ["input of the network", "target"]
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[1, 1], [2, 4], [3, 9]]
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[1, 2], [2, 3], [3, 4]]
    assert "RMSE" in figure.get_suptitle()


@pytest.mark.parametrize("value", [NAN, float("inf"), 1e38])
def test_a_run_that_diverged_has_pictures_too(value: float) -> None:
    true = torch.arange(20.0).view(10, 2)
    for said in (torch.full_like(true, value), torch.where(true > 5, true, value)):
        assert len(drawn(predicted_and_true(said, true, ["a", "b"]))) == 4
        assert len(drawn(fitted_curve(true[:, 0], said, true))) == 2


def test_a_test_table_of_training_rows_is_a_note(tmp_path: Path) -> None:
    rows = [f"{number},{number * 7 % 5},{number % 2}" for number in range(40)]
    train, test = tmp_path / "a.csv", tmp_path / "b.csv"
    train.write_text("\n".join(["x,z,y", *rows]))
    test.write_text("\n".join(["z,y,x", *(f"{z},{y},{x}" for x, z, y in (row.split(",") for row in rows[:12]))]))
    with pytest.warns(Note, match=r"12 of the 12 rows of .*b\.csv are also in .*a\.csv, such as line 2"):
        DATASETS.build("csv", path=str(train), target="y", test_path=str(test))
