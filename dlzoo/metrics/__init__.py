"""What is measured, and the pictures of it."""

#: What the tasks measure of a split; a report can be asked for any of them.
NAMES = (
    "loss",
    "accuracy",
    "accuracy_top5",
    "f1_macro",
    "calibration_error",
    "rmse",
    "mae",
    "r2",
    "map50_voc10",
    "map50_voc07",
    "map_coco",
    "map50_coco",
    "map75_coco",
    "map_small_coco",
    "map_medium_coco",
    "map_large_coco",
    "errors_classification",
    "errors_localisation",
    "errors_both",
    "errors_duplicate",
    "errors_background",
    "errors_missed",
)

#: Metrics that are better when they are smaller; of all others more is better.
LOWER_IS_BETTER = frozenset(
    {"loss", "mae", "rmse", "calibration_error", *(name for name in NAMES if name.startswith("errors_"))}
)
