"""Regression: numbers to predict."""

from dlzoo.tasks.regression.spec import RegressionSpec

__all__ = ["RegressionSpec"]
