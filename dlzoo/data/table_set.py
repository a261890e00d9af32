"""Tabular data sets: columns of numbers and categories, and the features made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import comb
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.schema import Bounds
from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Split

Impute = Literal["mean", "median", "most_frequent"]
Scale = Literal["standard", "minmax", "robust", "none"]
Encode = Literal["one_hot", "ordinal"]
Degree = Annotated[int, Bounds(minimum=1, maximum=100)]

_SCALERS: dict[Scale, Any] = {
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
    "none": partial(FunctionTransformer, feature_names_out="one-to-one"),
}
#: More features than this are likely a mistake, and could fill the memory.
_MOST = 10_000


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of categories, coded as indices into `categories`."""

    name: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Features:
    """Fitted transformer that turns any split of a table into features."""

    names: tuple[str, ...]
    transformer: ColumnTransformer

    def __call__(self, split: Split) -> Split:
        """Transform images (N, 1, 1, columns), nan for missing values, to float32 (N, 1, 1, features), all finite.

        Raises:
            UserError: if a feature is too large for float32.
        """
        with _check_range():
            features = np.asarray(self.transformer.transform(_rows(split))).astype(np.float32)
        return Split(torch.from_numpy(features).view(len(split), 1, 1, -1), split.labels)


@dataclass(frozen=True)
class TableSet(DataSet):
    """Tabular data set: images are float64 (N, 1, 1, columns), nan for missing values.

    A row is an image of one pixel with one channel per column, so that loaders and models treat it like any image.
    Labels are classes (N,), or numbers to predict (N, D) with their names in `classes`. Without `val`, validation is
    split off train.

    Missing numbers are imputed by `impute`, missing categories by the most frequent one. Polynomial features of numbers
    up to `degree` are added. Numbers and ordinal codes are then scaled; one-hot columns are not.
    """

    train: Split
    test: Split
    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    task: str
    val: Split | None = None
    impute: Impute = "mean"
    scale: Scale = "standard"
    encode: Encode = "one_hot"
    degree: int = 1

    kind: ClassVar[str] = "table"

    def table_columns(self) -> tuple[Column, ...]:
        return self.columns

    @property
    def one_input(self) -> bool:
        return len(self.columns) == 1

    def feature_names(self, prepare: Features) -> tuple[str, ...]:
        """Return the names of the features that `prepare` makes."""
        return prepare.names

    def statistics(self, train: Split) -> tuple[Tensor, Tensor]:
        """Return statistics that leave the features unchanged: they are scaled already."""
        channels = train.images.shape[3]
        return torch.zeros(channels), torch.full((channels,), 1 / 255)

    def fit_preparation(self, train: Split) -> Features:
        """Return the transformer of features, fitted on `train` only.

        A category that is not in `train` is unknown: zeros in all columns of `one_hot`, the code -1 as `ordinal`. A
        column without any value in `train` is filled with 0, and a constant column is not divided by its deviation.

        Raises:
            UserError: if there would be too many features, or too large ones.
        """
        self._refuse_too_many()
        numbers = [place for place, column in enumerate(self.columns) if not column.categories]
        categories = [place for place, column in enumerate(self.columns) if column.categories]
        transformer = ColumnTransformer(
            [("numbers", self._numbers(), numbers), ("categories", self._categories(), categories)]
        )
        with _check_range():
            transformer.fit(_rows(train))
        return Features(tuple(self._names(transformer)), transformer)

    def _numbers(self) -> Pipeline:
        steps = [SimpleImputer(strategy=self.impute, keep_empty_features=True), _SCALERS[self.scale]()]
        if self.degree > 1:
            steps.insert(1, PolynomialFeatures(self.degree, include_bias=False))
        return make_pipeline(*steps)

    def _categories(self) -> Pipeline:
        filled = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
        if self.encode == "ordinal":
            codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
            return make_pipeline(filled, codes, _SCALERS[self.scale]())
        return make_pipeline(filled, OneHotEncoder(handle_unknown="ignore", sparse_output=False))

    def _names(self, fitted: ColumnTransformer) -> Iterator[str]:
        """Yield the names of the features of a fitted transformer: size, size^2, colour=red."""
        numbers = [column.name for column in self.columns if not column.categories]
        categories = [column for column in self.columns if column.categories]
        parts = fitted.named_transformers_
        if numbers:
            yield from map(str, parts["numbers"].get_feature_names_out(numbers))
        if self.encode == "ordinal":
            yield from (column.name for column in categories)
        elif categories:
            for column, codes in zip(categories, parts["categories"][-1].categories_, strict=True):
                yield from (f"{column.name}={column.categories[int(code)]}" for code in codes)

    def _refuse_too_many(self) -> None:
        numbers = sum(not column.categories for column in self.columns)
        features = comb(numbers + self.degree, self.degree) - 1
        features += sum(len(c.categories) if self.encode == "one_hot" else 1 for c in self.columns if c.categories)
        if features > _MOST:
            remedy = f"a data.degree below {self.degree}" if self.degree > 1 else "data.encode=ordinal or fewer columns"
            raise UserError(f"the table has {features:,} features, more than the maximum of {_MOST:,}; choose {remedy}")


def _rows(split: Split) -> np.ndarray:
    """Return the rows of a split: (N, columns) float64."""
    return split.images[:].flatten(1).numpy()


@contextmanager
def _check_range() -> Iterator[None]:
    """Turn an overflow, in float64 or in the conversion to float32, into a UserError."""
    try:
        with np.errstate(over="raise"):
            yield
    except FloatingPointError:
        raise UserError("features too large for float32; choose a smaller data.degree, or another data.scale") from None
