"""`dlzoo diff`: compare two runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlzoo import config
from dlzoo.core.errors import UserError
from dlzoo.runs.differences import differing_keys, flatten, format_value
from dlzoo.runs.run_dir import RunDir

#: Fields of run.json -> the names that are shown.
_CIRCUMSTANCES = {
    "data_fingerprint": "data",
    "git_commit": "code",
    "device": "device",
    "precision": "precision",
    "ranks": "processes",
    "threads": "threads",
}


def diff(first: str, second: str) -> dict[str, Any]:
    """Compare the settings, the defaults that depend on them, and data, code, versions and device of two runs.

    Returns:
        {"settings": {key: [first, second]}, "brought": {...}, "circumstances": {...}}; a setting that an entry does not
        have is null.

    Raises:
        UserError: if one is not a run.
    """
    records = [RunDir.open(path).read() for path in (first, second)]
    configs = [_config(RunDir(Path(path)), record) for path, record in zip((first, second), records, strict=True)]
    left, right = map(flatten, configs)
    chosen = differing_keys(configs)
    both = [key for key in left if key in right and left[key] != right[key] and key not in chosen]
    around = {name: [record.get(key) for record in records] for key, name in _CIRCUMSTANCES.items()}
    versions = [record.get("versions", {}) for record in records]
    around |= {name: [each.get(name) for each in versions] for name in dict.fromkeys((*versions[0], *versions[1]))}
    return {
        "settings": {key: [left.get(key), right.get(key)] for key in chosen},
        "brought": {key: [left[key], right[key]] for key in both},
        # A run that has not started has recorded none.
        "circumstances": {key: pair for key, pair in around.items() if pair[0] != pair[1] and None not in pair},
    }


def _config(run: RunDir, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config.yaml of a run, which may have been edited; that of run.json if it is of an older dlzoo."""
    try:
        return config.read(run.config_file)
    except UserError:
        return record["config"]


def text(differences: dict[str, Any]) -> str:
    """Format the result of `diff` for a terminal."""
    settings, around = differences["settings"], differences["circumstances"]
    if not settings:
        sentence = "these runs do not differ in any setting"
    elif len(settings) == 1:
        sentence = f"these runs differ in exactly one setting: {next(iter(settings))}"
    else:
        sentence = f"these runs differ in {len(settings)} settings: {', '.join(settings)}"
    lines = [sentence, *_lines(settings)]
    if differences["brought"]:
        lines += ["defaults that change with them", *_lines(differences["brought"])]
    return "\n".join([*lines, *(["other differences", *_lines(around)] if around else [])])


def _lines(pairs: dict[str, list[Any]]) -> list[str]:
    width = max(map(len, pairs), default=0)
    return [
        f"  {key:<{width}}  {format_value(first)} -> {format_value(second)}" for key, (first, second) in pairs.items()
    ]
