"""The same image in two parts of a data set, or twice in one."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from dlzoo.core.errors import Note, UserError
from dlzoo.data.storage.duplicates import number_contents

Sample = TypeVar("Sample")

#: Copies are an error, or reported, or left out.
Leaks = Literal["warn", "error", "drop"]

#: Parts from the one that keeps its copies to the one that loses them first.
_ORDER = ("test", "val", "train")


def handle_leaks(
    parts: Mapping[str, Sequence[Sample]],
    path_of: Callable[[Sample], Path],
    leaks: Leaks,
    *,
    root: Path,
    class_of: Callable[[Sample], str] | None = None,
    others: Sequence[str] = (),
) -> dict[str, list[Sample]]:
    """Compare the image files of all parts by content, report copies in one line, and return the samples to use.

    With drop these are without copies: of a file in two parts, test keeps it, then val; in one part, the first place,
    or none of them if they are in two classes.

    Args:
        parts: samples by part; without test, val is the test split.
        class_of: returns the class of a sample, if it has one.
        others: phrases for copies of another kind, to be reported with these.

    Raises:
        UserError: if there are copies, with leaks=error; with drop, if a part has no other samples.
    """
    paths = {part: [path_of(one) for one in samples] for part, samples in parts.items()}
    numbers = iter(number_contents([path for files in paths.values() for path in files]))
    contents = {part: [next(numbers) for _ in files] for part, files in paths.items()}
    classes = {part: list(map(class_of, samples)) for part, samples in parts.items()} if class_of else {}
    unclear = {part: _in_two_classes(contents[part], names) for part, names in classes.items()}
    kept, found = _compare(paths, contents, unclear, root)
    _report([*found, *others], leaks)
    if leaks != "drop":
        return {part: list(samples) for part, samples in parts.items()}
    for part, indices in kept.items():
        if not indices:
            raise UserError(f"data.leaks=drop leaves no image in {part}: all of them are elsewhere too")
    return {part: [samples[index] for index in kept[part]] for part, samples in parts.items()}


def count_with_examples(count: int, examples: Sequence[str], thing: str, things: str) -> str:
    """Return the start of a phrase: "8 files (such as a.png and b.png) are"."""
    if count == 1:
        return f"1 {thing} ({examples[0]}) is"
    return f"{count:,} {things} (such as {examples[0]} and {examples[1]}) are"


def _in_two_classes(contents: Sequence[int], classes: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Return content -> the indices of two files that have it, for contents that are in two classes."""
    first: dict[int, int] = {}
    found: dict[int, tuple[int, int]] = {}
    for index, (number, name) in enumerate(zip(contents, classes, strict=True)):
        other = first.setdefault(number, index)
        if classes[other] != name:
            found.setdefault(number, (other, index))
    return found


def _compare(
    parts: Mapping[str, Sequence[Path]],
    contents: Mapping[str, Sequence[int]],
    unclear: Mapping[str, Mapping[int, tuple[int, int]]],
    root: Path,
) -> tuple[dict[str, list[int]], list[str]]:
    """Return the indices of the files of each part without copies, and a phrase for each kind of copies.

    Args:
        parts, contents: the files and their contents.
        unclear: by part, the contents in two classes, with the indices of two files.
    """
    roles = {"test" if part == "val" and "test" not in parts else part: part for part in parts}
    kept: dict[str, list[int]] = {}
    seen: dict[int, str] = {}
    copies: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for role, part in ((role, roles[role]) for role in _ORDER if role in roles):
        kept[part] = []
        for index, number in enumerate(contents[part]):
            if seen.get(number) == role and number in unclear.get(part, ()):
                continue  # reported as a contradiction
            if number in seen:
                copies[role, seen[number]][number] = name_below(parts[part][index], root)
            else:
                seen[number] = role
                kept[part].append(index)
    for part, pairs in unclear.items():
        kept[part] = [index for index in kept[part] if contents[part][index] not in pairs]
    return kept, [*(_contradiction(parts[part], pairs, root) for part, pairs in unclear.items() if pairs)] + [
        count_with_examples(len(names), list(names.values()), "file", "files")
        + (f" more than once in {one}" if one == other else f" in {one} and in {other}")
        for (one, other), names in copies.items()
    ]


def _contradiction(files: Sequence[Path], pairs: Mapping[int, tuple[int, int]], root: Path) -> str:
    """Return a phrase for the files of a part that are in two classes."""
    one, other = (name_below(files[index], root) for index in next(iter(pairs.values())))
    if len(pairs) == 1:
        return f"1 image has contradictory labels ({one} and {other} are the same file): remove the wrong one"
    return (f"{len(pairs):,} images have contradictory labels (such as {one} and {other}, which are the same file):"
            " remove the wrong ones")  # fmt: skip


def _report(phrases: Sequence[str], leaks: Leaks) -> None:
    if not phrases:
        return
    what = "; ".join(phrases)
    if leaks == "error":
        raise UserError(f"data.leaks=error: {what}; remove the copies, or set data.leaks=drop to leave them out")
    end = "the copies are left out" if leaks == "drop" else "set data.leaks=drop to leave the copies out"
    warnings.warn(f"{what}; {end}", Note, stacklevel=4)


def name_below(path: Path, root: Path) -> str:
    """Return the name of a file below a folder, or its whole path, as text that can be printed: names may be bytes."""
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return os.fsencode(name).decode(errors="replace")
