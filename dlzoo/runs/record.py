"""The schema of run.json, checked wherever one is read: a damaged or edited file is named, and breaks nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from reprlib import repr
from typing import Any

from dlzoo.core.registries import REGISTRIES

#: The sections of a config that name an entry.
_CHOICES = REGISTRIES.keys()
#: States that run.json may hold.
STATES = ("created", "running", "finished", "failed", "interrupted")


def check_record(record: Any) -> None:
    """Check the fields of a run.json. Fields that this version does not know are accepted.

    Raises:
        ValueError: "metrics must be numbers by name, not None".
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"it must be an object, not {repr(record)}")
    for name in ("state", "config"):
        if name not in record:
            raise ValueError(f"{name} is missing")
    for name, value in record.items():
        accepts, expected = _FIELDS.get(name, (_anything, ""))
        if not (accepts(value) or (value is None and name in _NULLABLE)):
            raise ValueError(f"{name} must be {expected}, not {repr(value)}")
    if record["state"] == "finished" and not record.get("metrics"):
        raise ValueError("the run is finished, but metrics is missing")


def _anything(value: Any) -> bool:
    return True


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_small_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 65_536


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _mapping_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(accepts(item) for item in value.values())


def _is_value_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] < value[1] < 2**16


def _are_parts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(about, Mapping) and "/" not in name and _is_text(about.get("sha256")) and _is_text(about.get("path"))
        for name, about in value.items()
    )


def _are_colours(value: Any) -> bool:
    return type(value) is list and all(
        type(each) is list and len(each) == 3 and all(type(part) is int and 0 <= part <= 255 for part in each)
        for each in value
    )


def _is_setting(value: Any) -> bool:
    if type(value) is list:
        return all(map(_is_setting, value))
    return type(value) in (str, int, float, bool, type(None))


def _is_config(value: Any) -> bool:
    """Return whether a value is a config: settings, and sections of settings; the sections of choices have a name."""
    if not isinstance(value, Mapping) or not isinstance(value.get("trainer", {}), Mapping):
        return False
    hooks = value.get("hook", {})
    if not isinstance(hooks, Mapping) or not all(isinstance(section, Mapping) for section in hooks.values()):
        return False
    own = [section for key, section in value.items() if isinstance(section, Mapping) and key != "hook"]
    sections = [*own, *hooks.values()]
    return (
        all(
            isinstance(value[choice], Mapping) and _is_text(value[choice].get("name"))
            for choice in _CHOICES & value.keys()
        )
        and all(_is_setting(setting) for setting in value.values() if not isinstance(setting, Mapping))
        and all(_is_setting(setting) for section in sections for setting in section.values())
    )


_MAPPING = (_mapping_of(_anything), "an object")
_TEXT, _TEXTS = (_is_text, "text"), (_are_texts, "a list of texts")
_COUNT, _NUMBER = (_is_count, "an integer >= 0"), (_is_number, "a number")
#: Field -> (whether a value is accepted, what it must be).
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "state": (lambda value: value in STATES, f"one of {', '.join(STATES)}"),
    "config": (_is_config, "the settings of the run by section"),
    "paths": (_mapping_of(_is_text), "paths by setting"),
    "metrics": (_mapping_of(lambda value: value is None or _is_number(value)), "numbers by name"),
    "result_notes": (_mapping_of(_is_text), "texts by kind"),
    "kept_best": (_mapping_of(lambda value: value is None or _is_number(value)), "numbers by name"),
    "data_sizes": (_mapping_of(_is_count), "sizes by split"),
    **dict.fromkeys(("versions", "by_class"), _MAPPING),
    "parts": (_are_parts, "a hash and a path by file name"),
    **dict.fromkeys(("created", "finished"), (_is_time, "a time with its zone")),
    **dict.fromkeys(("monitor", "task", "kind", "device", "precision", "data_fingerprint"), _TEXT),
    **dict.fromkeys(("error", "git_commit", "init_from", "trained_by"), _TEXT),
    **dict.fromkeys(("classes", "pictures", "remarks", "callbacks", "not_kept"), _TEXTS),
    **dict.fromkeys(("ranks", "threads"), (_is_small_count, "an integer from 1 to 65536")),
    **dict.fromkeys(("steps_per_epoch", "steps", "tested", "batch_size", "params", "macs", "trainable"), _COUNT),
    **dict.fromkeys(("in_channels", "image_size", "skipped", "validated"), _COUNT),
    "colours": (_are_colours, "a list of colours, each three integers from 0 to 255"),
    "value_range": (_is_value_range, "two integers from 0 to 65535"),
    **dict.fromkeys(("wall_seconds", "images_per_second", "effective_lr", "selected_epoch", "others_busy"), _NUMBER),
}
#: Fields that may be null: what is unknown, and numbers that were not finite.
_NULLABLE = {
    *("metrics", "error", "git_commit", "init_from", "trained_by", "data_fingerprint", "device", "precision", "params"),
    *("macs", "image_size", "value_range", "versions", "by_class"),
    *("images_per_second", "effective_lr", "selected_epoch", "wall_seconds", "others_busy"),
}
