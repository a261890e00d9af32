"""Draw all plots of a report."""

from __future__ import annotations

from dlzoo.report.classes import classes
from dlzoo.report.content import Content
from dlzoo.report.cost import cost
from dlzoo.report.curves import curves
from dlzoo.report.effects_plot import effects
from dlzoo.report.means import means
from dlzoo.report.plot import Plot, use_style

_FUNCTIONS = {"means": means, "effects": effects, "curves": curves, "cost": cost, "classes": classes}

#: The names of all plots.
NAMES = tuple(_FUNCTIONS)


def draw(content: Content) -> dict[str, Plot]:
    """Return name -> plot, without those that have nothing to show."""
    with use_style():
        plots = {name: plot(content) for name, plot in _FUNCTIONS.items()}
    return {name: plot for name, plot in plots.items() if plot is not None}
