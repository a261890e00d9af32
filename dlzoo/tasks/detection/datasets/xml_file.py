"""Reader of XML that keeps line numbers, and that is safe: files cannot make it open, fetch or expand anything."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import read_bytes


@dataclass
class Node:
    """An XML element, with its text and child elements."""

    file: Path
    tag: str
    line: int
    text: str = ""
    nodes: list[Node] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"

    def all(self, tag: str) -> list[Node]:
        """Return the children with this tag."""
        return [node for node in self.nodes if node.tag == tag]

    def one(self, tag: str) -> Node:
        """Return the first child with this tag.

        Raises:
            UserError: if there is none.
        """
        for node in self.nodes:
            if node.tag == tag:
                return node
        raise UserError(f"{self.where}: <{self.tag}> has no <{tag}>")

    def number(self, tag: str) -> float:
        """Return the number in the first child with this tag.

        Raises:
            UserError: if it is not a finite number.
        """
        node = self.one(tag)
        try:
            value = float(node.text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{node.where}: <{tag}> must be a finite number, not {node.text.strip()!r}")
        return value


def read_xml(path: Path) -> Node:
    """Return the root element of a file.

    Raises:
        UserError: if it cannot be read, is not well-formed, or has a document type, which could define entities.
    """
    open_nodes, roots = [], []

    def start(tag: str, attributes: dict[str, str]) -> None:
        node = Node(path, tag, parser.CurrentLineNumber)
        (open_nodes[-1].nodes if open_nodes else roots).append(node)
        open_nodes.append(node)

    def text(piece: str) -> None:
        open_nodes[-1].text += piece

    def refuse(*words: object) -> None:
        raise UserError(f"{path}, line {parser.CurrentLineNumber}: document types (DOCTYPE) are not supported")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda tag: open_nodes.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(read_bytes(path), True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two for an unknown encoding
        raise UserError(
            f"{path}, line {parser.CurrentLineNumber}: not well-formed XML ({first_line(error)})"
        ) from error
    return roots[0]
