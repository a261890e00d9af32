"""What differs between two folders of runs; `scripts/goldens.py` prints it.

Compared are the names of all files and what is in .ckpt, .json, .jsonl and .yaml files: each key, number, boolean, null
and word. Two floats are the same if their bits are, two tensors if their bytes, shapes and types are.
Not compared: pictures, pages and logs in words, sentences (strings with a blank in them), and `LEFT_OUT`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

#: In the folder of a case: what it was made by. It is not compared.
MADE = ".made.json"
#: Names of files that only the new runs may have.
ALLOWED_NEW = ("test_predictions.npz",)

#: What is added up over the samples of a split, whose order of addition may change: name -> relative difference.
#: It is looked for in run.json, metrics.jsonl, report.json, checkpoints, and what `dlzoo eval` prints.
REORDERED = {f"{split}/{name}": 1e-6 for split in ("val", "test") for name in ("loss", "f1_macro", "rmse", "mae", "r2")}
# Differences of sums of a bin, once in float32 and now in float64: what cancels makes the rounding larger.
REORDERED |= {f"{split}/calibration_error": 1e-5 for split in ("val", "test")}
#: An end of an interval is the mean plus or minus a multiple of the deviation, which few seeds make large (12.7 for 2).
INTERVAL, ENDS = 50, ("low", "high")

#: File -> keys of what is measured of the machine, or says which code ran.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "run.json": ("images_per_second", "wall_seconds", "peak_memory_bytes", "versions", "git_commit"),
    "metrics.jsonl": ("images_per_second", "time"),
    "report.json": ("images_per_second", "seconds", "memory", "environment"),
    "last.ckpt": ("images_per_second", "train_seconds", "window_seconds", "pytorch-lightning_version"),
    "best.ckpt": ("images_per_second", "train_seconds", "window_seconds", "pytorch-lightning_version"),
}
#: Keys whose strings are names, even with a blank in them.
NAMES = ("classes", "features", "pictures", "levels", "label", "monitor", "task", "state")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

#: The keys from the top of a file to a leaf.
Key = tuple[Any, ...]
Leaves = dict[Key, Any]


@dataclass
class Differences:
    """What differs.

    Args:
        lines: file -> a line for each difference.
        allowed: name -> the largest relative difference that `REORDERED` allowed.
        tensors, values: how many were compared; values are all other leaves.
    """

    lines: dict[str, list[str]] = field(default_factory=dict)
    allowed: dict[str, float] = field(default_factory=dict)
    tensors: int = 0
    values: int = 0


def compare(old: Path, new: Path) -> Differences:
    """Compare all files of two folders."""
    differences, before, after = Differences(), files(old), files(new)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            differences.lines[name] = ["only in old"]
        elif name not in before:
            if Path(name).name not in ALLOWED_NEW:
                differences.lines[name] = ["only in new"]
        elif Path(name).suffix in _READERS:
            _compare_file(name, before[name], after[name], differences)
    return differences


def _compare_file(name: str, old: Path, new: Path, differences: Differences) -> None:
    score, before, after = _score(old), leaves(old), leaves(new)
    tensors = sum(isinstance(leaf, Tensor) for leaf in before.values())
    differences.tensors += tensors
    differences.values += len(before) - tensors
    for key, a, b in _differences(before, after):
        if not _is_allowed(key, a, b, score, differences.allowed):
            text = " > ".join(str(part) for part in key) or "content"
            differences.lines.setdefault(name, []).append(f"{text}: {_difference(a, b)}")


def files(folder: Path) -> dict[str, Path]:
    """Name below the folder -> file; TensorBoard's names without the time, the machine and the process in them."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MADE)
    return {re.sub(r"(tfevents)\..*", r"\1", str(path.relative_to(folder))): path for path in paths}


def leaves(path: Path) -> Leaves:
    """Everything in a file that is not left out."""
    content = _READERS[path.suffix](path)
    if path.name == "report.json":  # whether checkouts have changes that are not committed
        content["findings"] = [one for one in content["findings"] if one["kind"] != "environment"]
    left_out = LEFT_OUT.get(path.name, ())
    return {key: leaf for key, leaf in _flat(content) if not any(part in left_out for part in key)}


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


_READERS = {
    ".ckpt": lambda path: torch.load(path, map_location="cpu", weights_only=True),
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": _lines,
    ".yaml": lambda path: yaml.safe_load(path.read_text()),
}


def _flat(value: Any, above: Key = ()) -> Iterator[tuple[Key, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    if not parts or not value:
        yield above, [] if value == () else value
        return
    for key, part in parts:
        yield from _flat(part, (*above, key))


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _differences(old: Leaves, new: Leaves) -> Iterator[tuple[Key, Any, Any]]:
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if not _same(a, b, sentence=not any(part in NAMES for part in key)):
            yield key, a, b


def _same(a: Any, b: Any, *, sentence: bool) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bytes(a), _bytes(b))
    if isinstance(a, float):
        return a.hex() == b.hex()
    if isinstance(a, str) and a != b:
        if _TIME.match(a) and _TIME.match(b):
            return True
        return sentence and " " in a.strip() and " " in b.strip()
    return a == b


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _score(path: Path) -> str | None:
    """What the best score in the checkpoints of a run is: "val/accuracy"."""
    record = path.parent.parent / "run.json"
    if path.suffix != ".ckpt" or not record.exists():
        return None
    return f"val/{json.loads(record.read_text())['monitor']}"


def _is_allowed(key: Key, a: Any, b: Any, score: str | None, allowed: dict[str, float]) -> bool:
    """Whether a number may differ as it does; it is then taken down in `allowed`."""
    name = next((part for part in key if part in REORDERED), None)
    if key[:3] == ("task", "best", 0) or key[:3] == ("task", "schedule", "best"):
        name = score if score in REORDERED else None
    numbers = all(isinstance(value, float) and math.isfinite(value) for value in (a, b))
    if name is None or not numbers:
        return False
    end = any(part in ENDS for part in key)
    relative = abs(a - b) / max(abs(a), abs(b), 1.0 if end else 0.0)
    if relative > REORDERED[name] * (INTERVAL if end else 1):
        return False
    name = f"{name} (interval)" if end else name
    allowed[name] = max(allowed.get(name, 0.0), relative)
    return True


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype:
        apart = (a.double() - b.double()).abs() if not a.is_complex() else (a - b).abs()
        return f"{int((apart != 0).sum())} of {a.numel()} values differ, by at most {apart.max().item():.3g}"
    return f"{_short(a)} -> {_short(b)}"


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {value.dtype}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
