"""Describe an entry: what it is, its source and its settings.

A model is shown layer by layer. Settings are image_size=224, num_classes=1000, in_channels=3, and
those of the model and its parts, such as norm=gn.

A loss, an activation (act), a schedule or an augmentation (augment) is plotted too, with the given
settings: dlzoo show loss focal loss.gamma=5. The plot is written to outputs/show.

The choice may be left out if no other has the name: dlzoo show resnet20. A choice alone lists its
names with a line each: dlzoo show loss.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import UserError

HELP = "describe an entry and its settings; a model layer by layer, a loss with a plot: dlzoo show loss focal"


def arguments(parser: Parser) -> None:
    """Add the choice, the name, the settings and --json."""
    parser.usage = "%(prog)s [-h] [--config-dir DIR] [--json] [CHOICE] NAME [key=value ...]"
    parser.add_argument("choice", metavar="CHOICE", help="model, norm, ...: one of those listed below; it may be left"
                        " out if no other choice has the name, and alone it lists its names")  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the names that `dlzoo list CHOICE` prints")
    parser.add_settings("settings of a model, or of what is plotted")
    parser.add_config_dir()
    parser.add_json()
    parser.details = _choices


def run(arguments: Namespace) -> None:
    """Print the description of the entry, with the table of a model or the path of a plot."""
    from dlzoo.show import choices, entry, listing

    if arguments.name is None or "=" in arguments.name:
        if arguments.choice in choices.choices() and not arguments.name:
            _list(arguments.choice, arguments.json)
            return
        if arguments.name:  # dlzoo show resnet20 norm=gn
            arguments.settings.insert(0, arguments.name)
        arguments.choice, arguments.name = choices.choice_of(arguments.choice), arguments.choice
    description = entry.entry(arguments.choice, arguments.name)
    if arguments.choice == "model":
        _show_model(description, arguments.settings, arguments.json)
    elif choices.SELECTIONS.get(arguments.choice, arguments.choice) in listing.DRAWN:
        _show_plot(description, arguments.settings, arguments.json)
    elif arguments.settings:
        raise UserError(
            f"{arguments.choice}={arguments.name} is shown without settings: they are for model,"
            f" {', '.join(listing.DRAWN)}; usage: dlzoo show {arguments.choice} {arguments.name} [--json]"
        )
    else:
        print(json.dumps(description, indent=1) if arguments.json else entry.text(description))


def _list(choice: str, as_json: bool) -> None:
    from dlzoo.show import listing

    if as_json:
        print(json.dumps(listing.names(choice), indent=1))
    else:
        print("\n".join(listing.described_lines(choice)))


def _show_model(description: Mapping[str, Any], settings: list[str], as_json: bool) -> None:
    from dlzoo.core.console import Console
    from dlzoo.show import entry, model, model_table

    profile = model.profile(description["name"], settings)
    if as_json:
        print(json.dumps({**description, **profile}, indent=1))
    else:
        print(entry.text({**description, "typed": settings}) + "\n")
        model_table.show(profile, Console())


def _show_plot(description: Mapping[str, Any], settings: list[str], as_json: bool) -> None:
    from dlzoo.show import entry, plot

    path = str(plot.draw(description["choice"], description["name"], settings))
    if as_json:
        print(json.dumps({**description, "picture": path}, indent=1))
    else:
        print(entry.text({**description, "typed": settings}) + f"\n\nplot     {path}")


def _choices() -> str:
    from dlzoo.show.choices import choices_text

    return choices_text()
