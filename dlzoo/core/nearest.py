"""The nearest words to a misspelt one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

#: The name that stands for the default entry of a choice; it is valid, but never suggested.
HIDDEN = "default"
#: Largest number of suggestions, of names that are listed if there are few, and of those that are listed otherwise.
_MOST, _FEW, _SOME = 3, 12, 6
#: Length of a word -> largest number of edits: in a short word, one letter makes another word.
_EDITS = ((2, 0), (4, 1), (8, 2))
_MANY_EDITS = 3
_PAIR = 2
#: Shortest word of which longer ones may be the complete spelling: "yolo" of "yolov3".
_SHORTEST_PART = 3


def simplify(word: str) -> str:
    """Return a word in lower case and without separators: "batchnorm2d" for "Batch-Norm_2d"."""
    return re.sub(r"[\s_.\-]+", "", word.lower())


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """Return the nearest of `words`, at most three; none if no word is near enough.

    First those that differ in case and separators only, then those of one edit (a letter inserted, deleted or replaced,
    or two neighbours exchanged), then those that `word` is a part of ("cifar" of "cifar10", "rcnn" of "faster_rcnn"),
    then those of fewest edits. The number of edits is limited by the length of the word.
    """
    names = sorted({*words})
    if not any("/" in name for name in names):
        word = word.rpartition("/")[2]  # test/accuracy
    typed = simplify(word)
    if not typed:
        return []
    simple = {name: simplify(name) for name in names}
    if same := [name for name in names if simple[name] == typed]:
        return same[:_MOST]
    most = next((edits for length, edits in _EDITS if len(typed) <= length), _MANY_EDITS)
    close = [name for name in names if abs(len(simple[name]) - len(typed)) <= most]
    if len(typed) == _PAIR:  # only a letter may be missing
        most, close = 1, [name for name in names if len(simple[name]) == _PAIR + 1]
    distances = {name: edit_distance(typed, simple[name]) for name in close}
    close = [name for name in names if distances.get(name, most + 1) <= most]
    least = min((distances[name] for name in close), default=0)
    parts = _with_part(typed, names) if least != 1 else []
    return parts if 0 < len(parts) <= _MOST else [name for name in close if distances[name] == least][:_MOST]


def _with_part(typed: str, names: Sequence[str]) -> list[str]:
    """Return the names that begin with a word, or have it as a part between underscores."""
    if len(typed) < _SHORTEST_PART:
        return []
    return [name for name in names if simplify(name).startswith(typed) or typed in name.lower().split("_")]


def list_some(word: str, names: Collection[str], all_of_them: str = "") -> str:
    """Return names to choose from instead of an unknown word: all if they are few, or those that it is a part of.

    Args:
        all_of_them: the command that lists all names.
    """
    known = sorted({*names} - {HIDDEN})
    more = f"; `{all_of_them}` lists them" if all_of_them else ""
    if len(known) <= _FEW:
        return f"available: {', '.join(known) or 'none'}"
    if parts := _with_part(simplify(word), known):
        shown = ", ".join(parts[:_SOME]) + (", ..." if len(parts) > _SOME else "")
        return f"{len(parts)} begin with it: {shown}{more}"
    return f"{len(known)} are available, such as {', '.join(known[:_SOME])}{more}"


def suggest_key(section: str, name: str, value: object, names: Collection[str]) -> str:
    """Return a hint for an unknown setting of a section with the settings `names`: the nearest one, or all."""
    near = nearest(name, names)
    if near:
        return f"did you mean {section}.{near[0]}={value}?"
    return list_some(name, [f"{section}.{each}" for each in names])


def edit_distance(first: str, second: str) -> int:
    """Return the number of edits between two words: Damerau and Levenshtein's, each part of a word edited once."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        above, row = row, [i]
        for j, right in enumerate(second, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right))
            if i > 1 and j > 1 and left == second[j - 2] and first[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]
