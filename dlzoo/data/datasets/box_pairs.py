"""Pairs of boxes, one that is to become the other: the simulation by which the losses of boxes were compared."""

from __future__ import annotations

import math
from typing import Annotated

import torch

from dlzoo.core.registries import DATASETS
from dlzoo.core.rng import Streams
from dlzoo.core.schema import Bounds, NonNegativeInt
from dlzoo.data.split import Split
from dlzoo.data.table_set import Column, TableSet

#: Widths over heights of the targets and of the boxes that start, and areas of the latter; the targets' is 1.
_RATIOS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0, 3.0, 4.0)
_AREAS = (1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0)

#: Where the targets are, and how far from there a box may start.
_CENTRE, _RADIUS = 10.0, 3.0


@DATASETS.register(
    "box_pairs", source="arXiv:1911.08287, section 3.1",
    table=True, tasks=("regress",), targets=("boxes", "regression"), model="moved_boxes", loss="ciou",
)  # fmt: skip
def box_pairs(*, points: Annotated[int, Bounds(minimum=1, maximum=5000)] = 100, draw: NonNegativeInt = 0) -> TableSet:
    """`points` places x 7 areas x 7 shapes of a box that starts x 7 shapes of the target at (10, 10)

    A row has the number of the pair, and both boxes as centre, width and height; what is wanted are the corners of the
    target (of area 1). The places are even in a circle of radius 3. Everything is trained on, and is the test as well:
    nothing is to be learnt beyond these boxes. The paper has 5,000 points, 1,715,000 pairs.
    """
    streams = Streams(draw).draw(torch.arange(points), "box pairs")
    radius, angle = _RADIUS * streams.uniform("radius").double().sqrt(), 2 * math.pi * streams.uniform("angle").double()
    places = torch.stack([_CENTRE + radius * angle.cos(), _CENTRE + radius * angle.sin()], 1)
    ratios, areas = torch.tensor(_RATIOS, dtype=torch.float64), torch.tensor(_AREAS, dtype=torch.float64)
    place, area, shape, wanted = (
        grid.flatten()
        for grid in torch.meshgrid(
            *(torch.arange(n) for n in (points, len(areas), len(ratios), len(ratios))), indexing="ij"
        )
    )
    start = torch.cat([places[place], _sides(areas[area], ratios[shape])], 1)
    target = torch.cat([torch.full((len(wanted), 2), _CENTRE), _sides(torch.ones(len(wanted)), ratios[wanted])], 1)
    number = torch.arange(len(wanted), dtype=torch.float64)[:, None]
    rows = torch.cat([number, start, target], 1).view(-1, 1, 1, 9)
    corners = torch.cat([target[:, :2] - target[:, 2:] / 2, target[:, :2] + target[:, 2:] / 2], 1)
    names = ["pair", *(f"{which} {side}" for which in ("start", "target") for side in ("x", "y", "width", "height"))]
    split = Split(rows, corners)
    return TableSet(
        split, split, tuple(map(Column, names)), ("x1", "y1", "x2", "y2"), "regress", val=split, scale="none"
    )


def _sides(area: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Widths and heights, (N, 2)."""
    return torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).double()
