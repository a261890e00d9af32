"""All pictures of a report."""

from __future__ import annotations

from dlzoo.report.classes import classes
from dlzoo.report.content import Content
from dlzoo.report.cost import cost
from dlzoo.report.curves import curves
from dlzoo.report.effects_plot import effects
from dlzoo.report.means import means
from dlzoo.report.picture import Picture, drawing

_MAKERS = {"means": means, "effects": effects, "curves": curves, "cost": cost, "classes": classes}

#: All that there may be.
NAMES = tuple(_MAKERS)


def draw(content: Content) -> dict[str, Picture]:
    """Name -> picture; one that has nothing to show is left out."""
    with drawing():
        found = {name: make(content) for name, make in _MAKERS.items()}
    return {name: picture for name, picture in found.items() if picture is not None}
