"""Pairs of boxes, a start and a target: the simulation of the DIoU paper that compares box losses."""

from __future__ import annotations

import math
from typing import Annotated

import torch

from dlzoo.core.registries import DATASETS
from dlzoo.core.rng import Streams
from dlzoo.core.schema import Bounds, Seed
from dlzoo.data.split import Split
from dlzoo.data.table_set import Column, TableSet

#: Aspect ratios (width / height) of target and start boxes, and areas of start boxes; the area of a target is 1.
_RATIOS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0, 3.0, 4.0)
_AREAS = (1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0)

#: Centre of the targets, and the maximum distance of a start box from it.
_CENTRE, _RADIUS = 10.0, 3.0


@DATASETS.register(
    "box_pairs", source="arXiv:1911.08287, section 3.1",
    table=True, tasks=("regress",), targets=("boxes", "regression"), model="moved_boxes", loss="ciou",
)  # fmt: skip
def box_pairs(*, points: Annotated[int, Bounds(minimum=1, maximum=5000)] = 100, draw: Seed = 0) -> TableSet:
    """`points` places x 7 areas x 7 aspect ratios of start boxes x 7 aspect ratios of targets at (10, 10)

    A row has the index of the pair, and both boxes as centre, width and height; the labels are the corners of the
    target (of area 1). The places are uniform in a circle of radius 3. All splits are the same data: generalisation is
    not tested. The paper has 5,000 points, 1,715,000 pairs.
    """
    streams = Streams(draw).draw(torch.arange(points), "box pairs")
    radius, angle = _RADIUS * streams.uniform("radius").double().sqrt(), 2 * math.pi * streams.uniform("angle").double()
    places = torch.stack([_CENTRE + radius * angle.cos(), _CENTRE + radius * angle.sin()], 1)
    ratios, areas = torch.tensor(_RATIOS, dtype=torch.float64), torch.tensor(_AREAS, dtype=torch.float64)
    place, area, ratio, target_ratio = (
        grid.flatten()
        for grid in torch.meshgrid(
            *(torch.arange(n) for n in (points, len(areas), len(ratios), len(ratios))), indexing="ij"
        )
    )
    start = torch.cat([places[place], _sides(areas[area], ratios[ratio])], 1)
    count = len(target_ratio)
    target = torch.cat([torch.full((count, 2), _CENTRE), _sides(torch.ones(count), ratios[target_ratio])], 1)
    number = torch.arange(count, dtype=torch.float64)[:, None]
    rows = torch.cat([number, start, target], 1).view(-1, 1, 1, 9)
    corners = torch.cat([target[:, :2] - target[:, 2:] / 2, target[:, :2] + target[:, 2:] / 2], 1)
    names = ["pair", *(f"{which} {side}" for which in ("start", "target") for side in ("x", "y", "width", "height"))]
    split = Split(rows, corners)
    return TableSet(
        split, split, tuple(map(Column, names)), ("x1", "y1", "x2", "y2"), "regress", val=split, scale="none"
    )


def _sides(area: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Return widths and heights, (N, 2)."""
    return torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).double()
