"""Annotations of images in PASCAL VOC's XML format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.tasks.detection.datasets.samples import Annotation, Object, known_size
from dlzoo.tasks.detection.datasets.xml_file import Node, read_xml


def read_annotation(path: Path, image: Path, labels: Mapping[str, int]) -> Annotation:
    """Return the annotation of an image.

    Args:
        path: the XML file.
        image: the image file.
        labels: name of a class -> its number.

    Raises:
        UserError: if the file is no annotation, or an object has no box or none of the classes.
    """
    annotation = read_xml(path)
    if annotation.tag != "annotation":
        raise UserError(f"{annotation.where}: expected <annotation>, not <{annotation.tag}>")
    node = annotation.one("size")
    size = known_size(node.number("width"), node.number("height"))
    things = [_object(each, labels) for each in annotation.all("object")]
    return Annotation(image, size, things, lambda: node.where)


def read_class_names_of(path: Path) -> set[str]:
    """Return the names of the classes of an annotation's objects; none if it cannot be read."""
    try:
        return {thing.one("name").text.strip() for thing in read_xml(path).all("object")} - {""}
    except UserError:  # read_annotation raises it again, where data.on_bad is obeyed
        return set()


def _object(node: Node, labels: Mapping[str, int]) -> Object:
    name = node.one("name")
    label = labels.get(name.text.strip())
    if label is None:
        raise UserError(f"{name.where}: unknown class {name.text.strip()!r}; {did_you_mean(name.text.strip(), labels)}")
    box = node.one("bndbox")
    x1, y1, x2, y2 = (box.number(tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    difficult = bool(node.all("difficult")) and node.number("difficult") != 0  # as in VOC's own reader, absent means 0
    # The first pixel is 1, and boxes include the last one.
    return Object((x1 - 1, y1 - 1, x2, y2), label, difficult, lambda: box.where)
