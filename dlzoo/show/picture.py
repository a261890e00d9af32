"""`dlzoo show loss focal`: what words do not say of an entry, as a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.show import augmented, curves

_DRAWN = {
    "loss": curves.of_loss,
    "act": curves.of_act,
    "schedule": curves.of_schedule,
    "augment": augmented.of_augment,
}


def draw(choice: str, name: str, settings: Sequence[str]) -> Path:
    """The picture of an entry as the settings have it, in outputs/show.

    Raises:
        UserError: for settings that cannot be, data that is not there, or a folder that cannot be written.
    """
    config = compose([f"{choice}={name}", *settings])
    figure = _DRAWN[choice](config)
    # With what was asked for: pictures are made to be compared.
    words = f"{choice} {curves.title(choice, config[choice])}"
    path = Path("outputs", "show", re.sub(r"[^\w.=,-]+", "_", words) + ".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return path
