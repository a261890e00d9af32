"""Measure a run's test metrics again, also under other conditions than those of its training:

  data.test_shift=noise data.test_severity=5   corrupted images
  augment.test=flip                            test-time augmentation
  nms=diou_nms nms.iou=0.6                     other non-maximum suppression, for a detector
  data.root=FOLDER data.path=FILE              the same data, which was moved

For a detector, images with the boxes drawn and files with all boxes, detections.json and
coco_results.json (with coco_ground_truth.json), are written to DIR/eval.
"""

from __future__ import annotations

import json
from argparse import Namespace

from dlzoo.commands._parser import Parser
from dlzoo.commands._run_word import split_run, trust_parts

HELP = "measure a run's test metrics again, also on corrupted images: dlzoo eval run=DIR data.test_shift=noise"


def arguments(parser: Parser) -> None:
    """Add the run, the conditions and --json."""
    parser.usage = "%(prog)s [-h] [--json] run=DIR [key=value ...]"
    parser.add_settings("run=DIR, the run directory, and the settings above")
    parser.add_json()
    parser.add_trust()


def run(arguments: Namespace) -> None:
    """Measure and print the metrics."""
    path, conditions = split_run(arguments.settings)
    if arguments.trust:
        trust_parts(path)
    from dlzoo.builder.evaluate import evaluate, results_folder
    from dlzoo.builder.summary import print_metrics
    from dlzoo.core.console import Console
    from dlzoo.core.terminal import in_one_line

    metrics = evaluate(path, conditions)
    if arguments.json:
        print(json.dumps(metrics))
        return
    print_metrics(Console(), metrics)
    if (written := results_folder(path, conditions)).is_dir():
        print(f"files             {in_one_line(str(written))}")
