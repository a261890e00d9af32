"""Fit anchor boxes to a data set: k-means of its training boxes' sizes, with 1 - IoU as distance.

The anchors are printed with their mean IoU with the boxes, and as settings for model=yolov3.
Settings are data=NAME, data.KEY=VALUE and count=9, the number of anchors.
"""

from __future__ import annotations

import json
from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = "fit anchor boxes to a data set: dlzoo anchors data=voc2007 count=9"


def arguments(parser: Parser) -> None:
    """Add the settings and --json."""
    parser.add_settings("settings of the data (default: data=shapes), and count=9")
    parser.add_json()


def run(arguments: Namespace) -> None:
    """Print the anchors."""
    from dlzoo.show import anchors

    result = anchors.anchors(arguments.settings)
    print(json.dumps(result, indent=1) if arguments.json else anchors.text(result))
