"""Classify images with the network of a run, or detect the objects in them.

For a detector, copies of the images with the boxes drawn that have a score of 0.3 or more, and a
file with all boxes (x1, y1, x2, y2 in pixels), predictions.json, are written to DIR/predictions,
where they replace those of the last time, or to --out. Settings such as nms=diou_nms nms.iou=0.6
choose other non-maximum suppression. Further words:

  on_bad=skip      leave out files that are not complete images; without it they are an error
  full_size=true   draw images of more than 4 megapixels in their full size, not on a smaller copy
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlzoo.commands._parser import Parser
from dlzoo.commands._run_word import split_run, trust_parts
from dlzoo.config.overrides import key_of, parse, refuse_twice
from dlzoo.config.settings import PredictSettings
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AFTER_TRAINING
from dlzoo.core.schema import check, settings_of
from dlzoo.runs.locations import is_place

HELP = "classify images, or detect objects in them: dlzoo predict run=DIR FILE ..."


def arguments(parser: Parser) -> None:
    """Add the run, the files, --out and --json."""
    parser.usage = "%(prog)s [-h] [--json] [--out FOLDER] run=DIR FILE ... [key=value ...]"
    parser.add_argument(
        "words", nargs="*", default=[], metavar="run=DIR FILE ...", help="the run directory, and image files"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="where to write the images with boxes (default: DIR/predictions)"
    )
    parser.add_json()
    parser.add_trust()


def run(arguments: Namespace) -> None:
    """Predict and print the predictions."""
    path, rest = split_run(arguments.words)
    if arguments.trust:
        trust_parts(path)
    words = {word: word.partition("=")[0] for word in rest if "=" in word and not Path(word).exists()}
    conditions = [word for word in words if _is_condition(word)]
    known = settings_of(PredictSettings)
    settings = {word: key for word, key in words.items() if key in known}
    files = [word for word in rest if word not in conditions and word not in settings]
    refuse_twice(settings)
    chosen = PredictSettings(**{key: _value(word, known[key]) for word, key in settings.items()})
    from dlzoo.builder.predict import format_predictions, predict

    answers = predict(path, files, out=arguments.out, conditions=conditions, settings=chosen)
    print(json.dumps(answers, indent=1) if arguments.json else "\n".join(format_predictions(path, answers)))


def _value(word: str, schema: Mapping[str, Any]) -> Any:
    """Return the value of a word such as full_size=true.

    Raises:
        UserError: if its schema does not have it.
    """
    try:
        return check(schema, parse(word).value())
    except ValueError as error:
        raise UserError(f"{key_of(word)} {error}") from None


def _is_condition(word: str) -> bool:
    """Return whether a word sets a choice that applies after training, such as nms.iou=0.6, or says where data is."""
    return word.partition("=")[0].partition(".")[0] in AFTER_TRAINING or is_place(word)
