"""`dlzoo show loss focal`: plot an entry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.core.files import reason
from dlzoo.runs.figures import write_png
from dlzoo.show import augmented, curves
from dlzoo.show.choices import SELECTIONS

_FUNCTIONS = {
    "loss": curves.plot_loss,
    "act": curves.plot_act,
    "schedule": curves.plot_schedule,
    "augment": augmented.plot_augment,
}


def draw(choice: str, name: str, settings: Sequence[str]) -> Path:
    """Plot an entry with the given settings, and return the path of the plot in outputs/show.

    Raises:
        UserError: for invalid settings, missing data, or a folder that cannot be written.
    """
    settings = [re.sub(f"^{choice}\\.", f"{SELECTIONS.get(choice, choice)}.", word) for word in settings]
    choice = SELECTIONS.get(choice, choice)
    config = compose([f"{choice}={name}", *settings])
    figure = _FUNCTIONS[choice](config)
    # The name has the settings, so that plots with different settings can be compared.
    words = f"{choice} {curves.title(choice, config[choice])}"
    path = Path("outputs", "show", re.sub(r"[^\w.=,-]+", "_", words) + ".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(figure, path, dpi=110)
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason(error)}") from error
    return path
