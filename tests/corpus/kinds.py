"""The corpus: kind -> cases."""

from __future__ import annotations

from tests.corpus import damaged_runs, words
from tests.corpus.case import Case

KINDS: dict[str, list[Case]] = {}
for _module in (words, damaged_runs):
    assert not KINDS.keys() & _module.KINDS.keys()
    KINDS |= _module.KINDS
