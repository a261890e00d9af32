"""`dlzoo show`: describe an entry, its source and its settings."""

from __future__ import annotations

import json
from inspect import getdoc
from typing import Any

import yaml

from dlzoo import config
from dlzoo.config import executor as executors
from dlzoo.config.settings import TrainerSettings
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core import index
from dlzoo.core.registries import HOOKS, LISTED, REGISTRIES
from dlzoo.core.schema import describe, settings_of
from dlzoo.show.choices import choices, unknown_choice


def entry(choice: str, name: str) -> dict[str, Any]:
    """Return the description of an entry, without importing torch.

    Raises:
        UserError: for an unknown choice or name.
    """
    if choice not in choices():
        raise unknown_choice(choice)
    if name not in config.names_of(choice):
        raise config.unknown_name(choice, name)
    if choice not in LISTED:
        return _from_file(choice, name)
    description = {
        "choice": choice,
        "name": name,
        **index.entries(choice)[name],
        "settings": index.settings(choice, name),
    }
    return description | {"about_common": index.load()[choice]["about_common"]}


def _from_file(choice: str, name: str) -> dict[str, Any]:
    """Return the description of a file under conf/: its first comment, and for a trainer its settings."""
    content = read_yaml(config.file_of(choice, name)) or {}
    head = config.head_comment(choice, name)
    if choice == "executor":
        doc = "\n".join([*head, "", executors.describe_settings(name)])
        settings = executors.settings_for(name)
        return {"choice": choice, "name": name, "doc": doc, "source": "", "meta": {}, "settings": settings}
    settings = dict(settings_of(TrainerSettings)) if choice == "trainer" else {}
    compared = content.get("comparison")
    if compared:
        head += ["", *yaml.safe_dump({"comparison": compared}, sort_keys=False, width=100).splitlines()]
    if choice == "trainer":
        head += ["", getdoc(TrainerSettings) or ""]
    for key, value in content.items():
        if key in settings:
            settings[key] = settings[key] | {"default": value}
    return {"choice": choice, "name": name, "doc": "\n".join(head), "source": "", "meta": {}, "settings": settings}


def _defaults(meta: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return (choice, part) of the defaults that a registration sets for other choices."""
    return [(choice, part) for choice, part in meta.items() if choice in REGISTRIES]


def _meaning(choice: str, part: str | dict[str, Any]) -> str:
    if part == "default":
        return "the model's own"
    if isinstance(part, str):
        return f"{choice}={part}"
    changed = [f"{choice}.{key}={json.dumps(value)}" for key, value in part.items() if key != "name"]
    return " ".join([f"{choice}={part['name']}", *changed])


def text(description: dict[str, Any]) -> str:
    """Format the result of `entry` for a terminal, without the errors raised."""
    doc = description["doc"].partition("\n\nRaises:")[0].rstrip()
    choice, name = description["choice"], description["name"]
    is_hook = choice == HOOKS.choice
    title, prefix = (f"hooks=[{name}]", f"{choice}.{name}") if is_hook else (f"{choice}={name}", choice)
    lines = [" ".join([title, *description.get("typed", [])]), "", doc, ""]
    if description["source"]:
        lines += [f"source   {description['source']}"]
    lines += [f"{f'{kind}=default':<17} means {_meaning(kind, part)}" for kind, part in _defaults(description["meta"])]
    if description["settings"]:
        lines += ["", "settings"]
    shown = {
        f"{prefix}.{key}={json.dumps(schema['default']).strip(chr(34))}": describe(schema)
        for key, schema in description["settings"].items()
    }
    width = max(map(len, shown), default=0)
    about = description.get("about_common") if description["settings"] else ""
    common = ["", *about.splitlines()] if about else []
    return "\n".join([*lines, *(f"  {setting:<{width}}  {kind}" for setting, kind in shown.items()), *common])
