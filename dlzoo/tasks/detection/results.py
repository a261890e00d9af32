"""The files of an evaluated detector: all detections, and the same in COCO's format with the objects beside them.

They are written image by image: the detections of 50,000 images as Python objects would take gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dlzoo.boxes.objects import objects
from dlzoo.core.files import write_atomically
from dlzoo.data.box_set import BoxSet, Source
from dlzoo.data.splits import Splits


def write_results(folder: Path, detections: Sequence[Tensor], labels: Sequence[Tensor], data: Splits) -> None:
    """Write detections.json, coco_results.json and coco_ground_truth.json of the first images of the test split.

    Args:
        detections: for each image (D, 6), in pixels of the original image; score 0: padding.
        labels: for each image (M, 6), as in boxes.objects.

    Raises:
        OSError: if they cannot be written.
    """
    sources = _sources(data, len(detections))
    numbers = _image_numbers(sources)
    categories = _category_numbers(data)
    described = (
        {"image": place, **_name(source)} | {"objects": _describe(rows, data.classes)}
        for place, (source, rows) in enumerate(zip(sources, detections, strict=True))
    )
    write_atomically(folder / "detections.json", _json_list(described))
    results = (
        {"image_id": number, "category_id": categories[label], "bbox": box, "score": score}
        for number, rows in zip(numbers, detections, strict=True)
        for box, score, label in _boxes(rows[rows[:, 4] > 0])
    )
    write_atomically(folder / "coco_results.json", _json_list(results))
    write_atomically(folder / "coco_ground_truth.json", _ground_truth(labels, sources, numbers, categories, data))


def _sources(data: Splits, count: int) -> Sequence[Source | None]:
    """Return the source of each of the first images of the test split; None if they are of no file."""
    assert isinstance(data.source, BoxSet)
    if data.test.rows is None:
        return [None] * count
    return [data.source.sources[row] for row in data.test.rows[:count].tolist()]


def _name(source: Source | None) -> dict[str, str]:
    return {} if source is None else {"file": source.file}


def _image_numbers(sources: Sequence[Source | None]) -> list[int]:
    """Return the ids that the images have in their data set if all are integers, otherwise 1, 2, ..."""
    known = [source.number for source in sources if source is not None and source.number is not None]
    return known if len(set(known)) == len(sources) else list(range(1, len(sources) + 1))


def _category_numbers(data: Splits) -> Sequence[int]:
    """Return the ids that the classes have in the data set, otherwise 1, 2, ..."""
    assert isinstance(data.source, BoxSet)
    return data.source.categories or range(1, len(data.classes) + 1)


def _describe(rows: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the detections (D, 6) of one image, without rows of score 0, in the fewest digits that are exact."""
    # As text, a number has the digits of a float32; as a Python float it would have those of a float64.
    exact = rows[rows[:, 4] > 0].numpy().astype(np.float32).astype(str).tolist()
    return [
        {"name": classes[int(float(label))], "score": float(score), "box": [float(side) for side in box]}
        for *box, score, label in exact
    ]


def _boxes(rows: Tensor) -> Iterator[tuple[list[float], float, int]]:
    """Yield x, y, width and height, the fifth column and the sixth of rows (R, 6)."""
    corners = rows[:, :4].double()
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()
    yield from zip(boxes, rows[:, 4].tolist(), rows[:, 5].long().tolist(), strict=True)


def _ground_truth(
    labels: Sequence[Tensor],
    sources: Sequence[Source | None],
    numbers: Sequence[int],
    categories: Sequence[int],
    data: Splits,
) -> Iterator[str]:
    """Yield the text of the objects in COCO's format; as in our metrics, areas are of boxes, difficult is iscrowd."""
    assert data.test.sizes is not None
    sizes = data.test.sizes[: len(labels)].tolist()
    images = (
        {"id": number, "width": width, "height": height, **({} if source is None else {"file_name": source.file})}
        for number, source, (width, height) in zip(numbers, sources, sizes, strict=True)
    )
    names = ({"id": number, "name": name} for number, name in zip(categories, data.classes, strict=True))
    for start, rows in (('{"images": ', images), (', "categories": ', names)):
        yield start
        yield from _json_list(rows)
    yield ', "annotations": '
    yield from _json_list(_annotations(labels, numbers, categories))
    yield "}\n"


def _annotations(
    labels: Sequence[Tensor], numbers: Sequence[int], categories: Sequence[int]
) -> Iterator[dict[str, Any]]:
    count = 0
    for number, rows in zip(numbers, labels, strict=True):
        for box, label, difficult in _boxes(rows[objects(rows).there]):
            count += 1
            yield {"id": count, "image_id": number, "category_id": categories[int(label)], "bbox": box,
                   "area": box[2] * box[3], "iscrowd": difficult}  # fmt: skip


def _json_list(items: Iterable[Any]) -> Iterator[str]:
    """Yield the text of a list of items, one a line."""
    yield "["
    for place, item in enumerate(items):
        yield (",\n" if place else "\n") + json.dumps(item)
    yield "\n]"
