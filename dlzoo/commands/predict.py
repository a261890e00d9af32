"""Classify images with the network of a run, or detect the objects in them.

For a detector, copies of the images with the boxes drawn that have a score of 0.3 or more, and a
file with all boxes (x1, y1, x2, y2 in pixels), predictions.json, are written to DIR/predictions,
where they replace those of the last time, or to --out. Settings such as nms=diou_nms nms.iou=0.6
choose other non-maximum suppression.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from dlzoo.commands._parser import Parser
from dlzoo.commands._run_word import split_run
from dlzoo.core.registries import AFTER_TRAINING
from dlzoo.runs.locations import is_place

HELP = "classify images, or detect objects in them: dlzoo predict run=DIR FILE ..."


def arguments(parser: Parser) -> None:
    """Add the run, the files, --out and --json."""
    parser.usage = "%(prog)s [-h] [--json] [--out FOLDER] run=DIR FILE ... [nms=NAME]"
    parser.add_argument(
        "words", nargs="*", default=[], metavar="run=DIR FILE ...", help="the run directory, and image files"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="where to write the images with boxes (default: DIR/predictions)"
    )
    parser.add_json()


def run(arguments: Namespace) -> None:
    """Predict and print the predictions."""
    path, rest = split_run(arguments.words)
    conditions = [word for word in rest if _is_condition(word) and not Path(word).exists()]
    from dlzoo.builder.predict import format_predictions, predict

    files = [word for word in rest if word not in conditions]
    answers = predict(path, files, out=arguments.out, conditions=conditions)
    print(json.dumps(answers, indent=1) if arguments.json else "\n".join(format_predictions(path, answers)))


def _is_condition(word: str) -> bool:
    """Return whether a word sets a choice that applies after training, such as nms.iou=0.6, or says where data is."""
    key, equals, _ = word.partition("=")
    return (bool(equals) and key.partition(".")[0] in AFTER_TRAINING) or is_place(word)
