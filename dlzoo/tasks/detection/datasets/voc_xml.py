"""XML whose lines are known, read safely: nothing in a file makes the reader open, fetch or multiply anything."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from dlzoo.core.errors import UserError, first_line


@dataclass
class Node:
    """An element: its text, and those in it."""

    file: Path
    tag: str
    line: int
    text: str = ""
    nodes: list[Node] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"

    def all(self, tag: str) -> list[Node]:
        """The elements called `tag` right in this one."""
        return [node for node in self.nodes if node.tag == tag]

    def one(self, tag: str) -> Node:
        """The first of them.

        Raises:
            UserError: if there is none.
        """
        for node in self.nodes:
            if node.tag == tag:
                return node
        raise UserError(f"{self.where}: <{self.tag}> without <{tag}>")

    def number(self, tag: str) -> float:
        """What the element called `tag` in this one says.

        Raises:
            UserError: if that is no number, or not a finite one.
        """
        node = self.one(tag)
        try:
            value = float(node.text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{node.where}: <{tag}> is {node.text.strip()!r}, and not a number")
        return value


def read_xml(path: Path) -> Node:
    """The outermost element of a file.

    Raises:
        UserError: if it cannot be read, is not well-formed, or has a document type: entities come from there.
    """
    open_nodes, outermost = [], []

    def start(tag: str, attributes: dict[str, str]) -> None:
        node = Node(path, tag, parser.CurrentLineNumber)
        (open_nodes[-1].nodes if open_nodes else outermost).append(node)
        open_nodes.append(node)

    def text(piece: str) -> None:
        open_nodes[-1].text += piece

    def refuse(*words: object) -> None:
        raise UserError(f"{path}, line {parser.CurrentLineNumber}: a document type (DOCTYPE); none is accepted")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda tag: open_nodes.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two for an encoding that there is not
        raise UserError(
            f"{path}, line {parser.CurrentLineNumber}: not well-formed XML ({first_line(error)})"
        ) from error
    return outermost[0]
