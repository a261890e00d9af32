"""Regression: prediction of numbers."""

from dlzoo.tasks.regression.spec import RegressionSpec

__all__ = ["RegressionSpec"]
