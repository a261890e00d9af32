"""`dlzoo list`, `dlzoo --help` and tab completion, from the index and without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any

from dlzoo import config
from dlzoo.config import executor as executors
from dlzoo.config.settings import RunSettings, SweepSettings
from dlzoo.core import index
from dlzoo.core.registries import HOOKS, LISTED
from dlzoo.core.schema import settings_of
from dlzoo.show.choices import choices, unknown_choice

#: Choices whose entries `dlzoo show` plots (show/plot.py).
DRAWN = ("loss", "act", "schedule", "augment")

#: The settings that most trainings need, for `dlzoo train --help`.
_COMMON = {
    "data": "the data set: `dlzoo list data`; your own images: data=image_folder data.root=FOLDER",
    "model": "the network: `dlzoo list model`",
    "trainer.max_epochs": "epochs",
    "data.batch_size": "samples per optimizer step",
    "optimizer": "the optimizer: `dlzoo list optimizer`",
    "optimizer.lr": "the learning rate; each optimizer has its own default",
    "optimizer.weight_decay": "weight decay",
    "schedule": "how the rate changes",
    "loss": "the loss; depends on the data and the model",
    "norm": "the normalisation; that of the model's paper",
    "augment": "augmentation; depends on the data",
    "trainer": "gpu, cpu, ddp, ...: where to train",
    "trainer.precision": "fp32, bf16, fp16, or what suits the device",
    "init_from": "a run or a file whose weights to start from",
    "seed": "the seed",
    "name": "a name for the run's folder",
}


def names(choice: str) -> dict[str, str]:
    """Return name -> first line of its description.

    Raises:
        UserError: for an unknown choice.
    """
    if choice not in choices():
        raise unknown_choice(choice)
    return {name: _first_line(choice, name) for name in config.names_of(choice)}


def described_lines(choice: str) -> list[str]:
    """Return the names of a choice, one per line, each with the first line of its description."""
    described = names(choice)
    width = max(map(len, described), default=0)
    return [f"{name:<{width}}  {about}" for name, about in described.items()]


def common_text() -> str:
    """Return the help text of `dlzoo train`: the settings that most trainings need, the choices, and examples."""
    lines = ["Settings that most trainings need, with their defaults"]
    defaults = config.default_choices()
    for key, about in _COMMON.items():
        section, _, name = key.rpartition(".")
        known = config.settings_for(section, defaults.get(section, "default")) if section in config.SECTIONS else {}
        known = known if section else settings_of(RunSettings)
        default = defaults[key] if key in defaults else json.dumps(known[name]["default"]).strip(chr(34))
        lines.append(f"  {key:<22} {default:<9} {about}")
    lines += ["", *_choices_with_names(), "", *_examples(), ""]
    return "\n".join([*lines, "All settings with their defaults: `dlzoo --help`. A search: `dlzoo find WORD`."])


def lines(choice: str) -> list[str]:
    """Return the names of a choice, one per line; losses with the kinds of targets that they take.

    Raises:
        UserError: for an unknown choice.
    """
    entries = list(names(choice))
    if choice != "loss":
        return entries
    kinds = {name: ", ".join(index.marks("loss", name).targets) for name in entries}
    return [f"{name:<{max(map(len, entries))}}  {kinds[name]}" for name in entries]


def _first_line(choice: str, name: str) -> str:
    if choice in LISTED:
        return index.entries(choice)[name]["doc"].partition("\n")[0].rstrip(".")
    return next(iter(config.head_comment(choice, name)), "").rstrip(".")


def help_text(commands: Mapping[str, str]) -> str:
    """Return the text of `--help`: commands (name -> summary), choices, settings with their defaults."""
    width = max(11, *map(len, commands))
    lines = ["dlzoo: the training framework for people who compare deep-learning techniques", ""]
    lines += ["Commands (`dlzoo <command> --help` for more)"]
    lines += [f"  {name:<{width}} {what}" for name, what in commands.items()]
    return "\n".join([*lines, "", settings_text()])


def settings_text() -> str:
    """Return the help text of a training: choices, settings with their defaults, examples."""
    lines = [
        *_choices_with_names(),
        "",
        "Settings of train (key=value; `dlzoo show <choice> <name>` for those of a choice)",
    ]
    settings = dict(settings_of(RunSettings))
    for section in config.SECTIONS:
        settings |= {f"{section}.{name}": schema for name, schema in config.settings_for(section).items()}
    lines += _settings(settings | _hook_settings(config.options(HOOKS.choice)))
    lines += ["", f"Hooks (hooks=[name,...]; `dlzoo list {HOOKS.choice}`)"]
    lines += wrap(", ".join(config.options(HOOKS.choice)), 100, initial_indent="  ", subsequent_indent="  ")
    lines += ["", "Settings of several runs (train -m; `dlzoo show executor <name>` for those of an executor)"]
    lines += _settings({f"sweep.{name}": schema for name, schema in settings_of(SweepSettings).items()})
    return "\n".join([*lines, "", *_examples()])


def _choices_with_names() -> list[str]:
    lines = ["Choices of train (choice=name; `dlzoo list <choice>` for all)"]
    for choice in (choice for choice in choices() if choice != HOOKS.choice):
        options = config.names_of(choice)
        some = ", ".join(options[:8]) + (f", ... ({len(options)})" if len(options) > 8 else "")
        lines.append(f"  {choice:<11} {some or '(none yet)'}")
    return lines


def _examples() -> list[str]:
    return [
        "Examples",
        "  python train.py model=densenet121 norm=gn",
        "  python train.py data=cifar10 data.download=true",
        "  python train.py -m name=norms norm=bn,gn data.batch_size=2,8,32 'seed=range(8)'",
        "  python train.py experiment=bn_vs_gn scale=tiny",
    ]


def _hook_settings(names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return "hook.csv.path" -> schema for the settings of hooks."""
    entries = index.entries(HOOKS.choice)
    return {
        f"{HOOKS.choice}.{name}.{key}": schema for name in names for key, schema in entries[name]["settings"].items()
    }


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"  {name:<30} {json.dumps(schema['default']).strip(chr(34))}" for name, schema in settings.items()]


def candidates(line: str, commands: Iterable[str]) -> list[str]:
    """Return completions of the last word of a command line; for `norm=g` only the part after `=`, as bash needs it."""
    *words, word = line.split(" ")
    words = [item for item in words[1:] if item]
    command = words[0] if words and words[0] in commands else "train"
    if not words and "=" not in word:
        return _filter_by_prefix(word, [*commands, *(f"{choice}=" for choice in config.choices())])
    if command == "show" and len(words) > 2 and words[1] in ("model", *DRAWN):
        words = [f"{words[1]}={words[2]}", *words[3:]]
    elif command in ("list", "show"):
        return _filter_by_prefix(word, _listed(command) if len(words) == 1 else _names_or_none(words[1]))
    if command in ("eval", "predict", "run", "runs", "report", "diff", "completion", "version"):
        return _filter_by_prefix(word, ["run="]) if command in ("eval", "predict") else []
    chosen = config.default_choices() | dict(item.split("=", 1) for item in words if "=" in item)
    several = command in ("compare", "tune") or {"-m", "--multirun"} & set(words)
    keys = _keys(chosen) | (_sweep_keys(chosen) if several else {})
    keys |= {key: {} for key in config.COMPARE_ONLY} if command == "compare" else {}
    key, equals, value = word.partition("=")
    if not equals:
        return _filter_by_prefix(word, [f"{name}=" for name in keys])
    if key == "hooks":
        return _filter_by_prefix(value, _longer_lists(value))
    return _filter_by_prefix(value, config.options(key) if key in choices() else _values(keys.get(key, {})))


def _longer_lists(value: str) -> list[str]:
    """Return lists of hooks that begin with what was typed and have one more name: "[csv,ml" -> "[csv,mlflow"."""
    names = value.removeprefix("[").split(",")[:-1]
    others = (name for name in config.options(HOOKS.choice) if name not in names)
    return ["[" + ",".join([*names, name]) for name in others]


def _values(schema: Mapping[str, Any]) -> list[str]:
    """Return the values of a setting, as far as they can be listed."""
    if "anyOf" in schema:
        return [word for part in schema["anyOf"] for word in _values(part)]
    if schema.get("type") == "boolean":
        return ["true", "false"]
    return [str(word) for word in schema.get("enum", [])]


def _keys(chosen: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return what may precede "=": choices, and settings with their schemas."""
    keys: dict[str, Mapping[str, Any]] = {choice: {} for choice in config.choices()}
    keys |= settings_of(RunSettings)
    listed = chosen.get("hooks", "").strip("[]").split(",")
    keys |= _hook_settings(name for name in listed if name in config.options(HOOKS.choice))
    for section in config.SECTIONS:
        name = chosen.get(section, "default")
        if name == "default" and chosen["data"] in config.options("data"):
            name = config.resolved_name(section, {choice: {"name": other} for choice, other in chosen.items()})
        known = config.settings_for(section, name if name in config.options(section) else "default")
        keys |= {f"{section}.{setting}": schema for setting, schema in known.items()}
    return keys


def _sweep_keys(chosen: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return what may precede "=" in addition for several runs."""
    name = chosen.get("executor", "local")
    known = executors.settings_for(name) if name in config.options("executor") else {}
    sweep = {f"sweep.{setting}": schema for setting, schema in settings_of(SweepSettings).items()}
    return {**sweep, "executor": {}, **{f"executor.{setting}": schema for setting, schema in known.items()}}


def _listed(command: str) -> list[str]:
    return [*choices(), "topics"] if command == "list" else choices()


def _names_or_none(choice: str) -> list[str]:
    return config.options(choice) if choice in choices() else []


def _filter_by_prefix(word: str, words: list[str]) -> list[str]:
    return [candidate for candidate in words if candidate.startswith(word)]


COMPLETION = """\
_dlzoo() { local IFS=$'\\n'; COMPREPLY=($(dlzoo completion --line "${COMP_LINE:0:COMP_POINT}")); }
complete -o nospace -o default -F _dlzoo dlzoo train.py ./train.py"""
