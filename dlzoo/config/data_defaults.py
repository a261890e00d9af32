"""Defaults that depend on the task, or on the data itself, such as its number of images, where nothing was chosen."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import yaml

from dlzoo.config.conf_files import experiment_files
from dlzoo.config.defaults import Config, file_of
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core import index
from dlzoo.core.registries import REGISTRIES


def defaults_for_data(config: Config, overrides: Iterable[str], files: Sequence[str]) -> list[str]:
    """Return the settings (key=value) that are defaults for this data, without those that were chosen otherwise.

    Where a choice was made, its settings keep their own defaults: optimizer=sgd does not get the rate of another one.

    Args:
        config: the finalised config without them.
        overrides: what was typed.
        files: chosen files, such as experiment=bn_vs_gn; what they set counts as typed.
    """
    taken = {word.lstrip("+").partition("=")[0] for word in overrides} | set(_keys_in_files(files))
    words = _default_words(config, taken)
    return [word for word in words if not _is_taken(word.partition("=")[0], taken)]


def data_defaults_in_use(config: Config) -> list[str]:
    """Return the defaults for this data (key=value) that a finalised config has."""
    return [word for word in _default_words(config, {"model"}) if _has(config, word)]


def _default_words(config: Config, chosen: Set[str]) -> list[str]:
    """Return the defaults (key=value) of the task, and of the data, which come first where both have one."""
    data, model = config["data"]["name"], config["model"]["name"]
    task = index.task_of(None if model == "default" else model, data)
    function = index.marks("data", data).defaults
    words = [*index.marks("task", task).settings, *(_call(function, config, chosen) if function else ())]
    return list({word.partition("=")[0]: word for word in words}.values())


def _has(config: Config, word: str) -> bool:
    key, _, text = word.partition("=")
    section, _, name = key.partition(".")
    return config[section].get(name or "name") == yaml.safe_load(text)


def _call(function: str, config: Config, chosen: Set[str]) -> list[str]:
    """Call "module:function" as core.entries.DatasetMarks says."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(config, chosen)


def _is_taken(key: str, taken: set[str]) -> bool:
    choice, dot, _ = key.partition(".")
    return key in taken or (bool(dot) and choice in REGISTRIES and choice != "data" and choice in taken)


def _keys_in_files(files: Sequence[str]) -> Iterator[str]:
    """Yield the keys that the chosen files set, and the choices that they make."""
    for choice, _, name in (word.partition("=") for word in files):
        paths: list[Path] = experiment_files(name) if choice == "experiment" else [file_of(choice, name)]
        for path in paths:
            content = read_yaml(path)
            content = content if isinstance(content, dict) else {}
            yield from _keys(content, "" if choice == "experiment" else f"{choice}.")
            for item in content.get("defaults") or ():
                if isinstance(item, Mapping):
                    yield from (str(key).rpartition("/")[2] for key in item)


def _keys(content: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    """Yield the dotted keys of the values in nested mappings."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
