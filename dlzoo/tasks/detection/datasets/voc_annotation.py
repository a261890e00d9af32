"""Annotations of images in PASCAL VOC's XML format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.tasks.detection.datasets.samples import Annotation, Object, known_size
from dlzoo.tasks.detection.datasets.xml_file import Node, read_xml

#: What <difficult> may be.
_MARKS = {"": False, "0": False, "0.0": False, "1": True, "1.0": True}


def read_annotation(path: Path, image: Path, labels: Mapping[str, int]) -> Annotation:
    """Return the annotation of an image.

    The image is the one that the caller found by the name of the XML file, as LabelImg does: the name in <filename>
    is outdated once files were renamed. If it names another image beside, the annotation has a remark.

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
    return Annotation(image, size, things, lambda: node.where, remark=_other_image(annotation, image))


def _other_image(annotation: Node, image: Path) -> str:
    """Return where <filename> names another image beside `image`, and which one; "" if it does not."""
    for node in annotation.all("filename"):
        name = PureWindowsPath(node.text.strip()).name  # which splits at / too
        if name and Path(name).stem != image.stem and os.path.isfile(image.with_name(name)):
            return f"{node.where}: {name}"
    return ""


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
    # The first pixel is 1, and boxes include the last one.
    return Object((x1 - 1, y1 - 1, x2, y2), label, _is_difficult(node), lambda: box.where)


def _is_difficult(node: Node) -> bool:
    """Return whether an object is marked difficult; without a mark, or with an empty one, it is not.

    Raises:
        UserError: for a mark other than 0 and 1.
    """
    for mark in node.all("difficult"):
        text = mark.text.strip()
        if text not in _MARKS:
            raise UserError(f"{mark.where}: <difficult> must be 0, 1 or empty, not {text!r}")
        return _MARKS[text]
    return False
