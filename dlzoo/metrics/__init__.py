"""What is measured, and the pictures of it."""

#: Metrics that are better when they are smaller; of all others more is better.
LOWER_IS_BETTER = frozenset({"loss", "mae", "mse", "rmse", "calibration_error"})
