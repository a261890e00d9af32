"""The pages of the documentation, and what is in them: commands, other code blocks, code spans, links, headings."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s+)# .*$")
_PROGRAMS = ("python train.py", "python scripts/", "dlzoo ", "make ", "pip install", "tensorboard ", "torchrun ")


@dataclass(frozen=True)
class Block:
    """A fenced code block: its language, the line of its first row, and its content without the indentation."""

    language: str
    line: int
    content: str


@dataclass(frozen=True)
class Command:
    """A command line of a page, without its comment; `printed` is what the page shows below it, where it does."""

    page: str
    line: int
    text: str
    printed: str | None = None

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.text}"


class Page:
    """One Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, path.read_text()
        self.name = str(path.relative_to(REPOSITORY))

    @cached_property
    def blocks(self) -> list[Block]:
        return [
            Block(found[2], self.text.count("\n", 0, found.start(3)) + 1, textwrap.dedent(found[3]))
            for found in _FENCE.finditer(self.text)
        ]

    @cached_property
    def prose(self) -> str:
        """The page without its code blocks; lines stay where they are."""
        return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), self.text)

    @cached_property
    def spans(self) -> list[tuple[int, str]]:
        """(line, content) of each code span of the prose, line breaks in it as blanks."""
        found = re.finditer(r"(?<!`)`([^`]+)`(?!`)", self.prose)
        return [(self.prose.count("\n", 0, each.start()) + 1, " ".join(each[1].split())) for each in found]

    @cached_property
    def commands(self) -> list[Command]:
        """Those of the blocks, and the code spans that are command lines."""
        found = [command for block in self.blocks for command in self._of_block(block)]
        spans = [each for each in self.spans if each[1].startswith(_PROGRAMS) and "..." not in each[1]]
        return found + [Command(self.name, line, text) for line, text in spans]

    def _of_block(self, block: Block) -> list[Command]:
        lines = list(enumerate(block.content.splitlines(), block.line))
        if block.language == "bash":
            bare = [(number, _COMMENT.sub("", line).strip()) for number, line in lines]
            return [Command(self.name, number, line) for number, line in bare if line]
        if block.language != "console":
            return []
        typed = [(number, line.removeprefix("$ ")) for number, line in lines if line.startswith("$ ")]
        shown = ["\n".join(part.splitlines()[1:]) for part in f"\n{block.content}".split("\n$ ")[1:]]
        return [Command(self.name, *each, printed=text) for each, text in zip(typed, shown, strict=True)]

    @cached_property
    def links(self) -> list[tuple[str, str]]:
        """(file, heading) of each link and image to a file of the repository; "" is this page, or no heading."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose) + re.findall(r'<img src="([^"]+)"', self.prose)
        return [(each.partition("#")[0], each.partition("#")[2]) for each in targets if "://" not in each]

    @cached_property
    def anchors(self) -> set[str]:
        """What a link to a heading of this page has behind its #."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


PAGES = [
    Page(path)
    for path in (
        REPOSITORY / "README.md",
        REPOSITORY / "CONTRIBUTING.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    )
]
COMMANDS = [command for page in PAGES for command in page.commands]


def python_blocks(name: str) -> list[str]:
    """The Python blocks of the page docs/<name>.md, in their order."""
    (page,) = [page for page in PAGES if page.name == f"docs/{name}.md"]
    return [block.content for block in page.blocks if block.language == "python"]
