"""What is measured, and the pictures of it."""

#: What the tasks measure of a split; a report can be asked for any of them.
NAMES = ("loss", "accuracy", "accuracy_top5", "f1_macro", "calibration_error", "rmse", "mae", "r2")

#: Metrics that are better when they are smaller; of all others more is better.
LOWER_IS_BETTER = frozenset({"loss", "mae", "rmse", "calibration_error"})
