"""The corpus: kind -> cases."""

from __future__ import annotations

from tests.corpus import boxes, commands, damaged_runs, files, images, masks, tables, words
from tests.corpus.case import Case

KINDS: dict[str, list[Case]] = {}
for _module in (words, commands, tables, images, boxes, masks, damaged_runs, files):
    assert not KINDS.keys() & _module.KINDS.keys()
    KINDS |= _module.KINDS
