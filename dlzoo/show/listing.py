"""`dlzoo list`, `dlzoo --help` and tab completion: answered from the index, without torch."""

from __future__ import annotations

import json

from dlzoo import config, index
from dlzoo.errors import UserError, did_you_mean
from dlzoo.knobs import knobs_of
from dlzoo.registry import REGISTRIES
from dlzoo.settings import RunSettings, TrainerSettings

COMMANDS = {
    "train": "train a network: dlzoo train model=densenet121 norm=gn (python train.py is the same)",
    "run": "carry out a run directory, from its last checkpoint if it has one: dlzoo run DIR",
    "list": "the names of a choice: dlzoo list model [--json]",
    "show": "what an entry takes, its source, its size: dlzoo show model resnet50 [--json]",
    "eval": "a run's test numbers again, from its checkpoint: dlzoo eval run=DIR [--json]",
    "predict": "classes for pictures: dlzoo predict run=DIR FILE ... [--json]",
    "completion": 'tab completion: eval "$(dlzoo completion)"',
}


def names(choice: str) -> dict[str, str]:
    """name -> first line of its description.

    Raises:
        UserError: for an unknown choice.
    """
    if choice not in config.choices():
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(choice, config.choices())}")
    return {name: _first_line(choice, name) for name in config.options(choice) if name != "default"}


def _first_line(choice: str, name: str) -> str:
    if choice in REGISTRIES:
        return index.entries(choice)[name]["doc"].partition("\n")[0].rstrip(".")
    head = (config.conf_dir() / choice / f"{name}.yaml").read_text().partition("\n")[0]
    return head.lstrip("# ").rstrip(".")


def help_text() -> str:
    """What `--help` prints: commands, choices with their names, settings with their defaults."""
    lines = ["dlzoo: the training framework for people who compare deep-learning techniques", "", "Commands"]
    lines += [f"  {name:<11} {what}" for name, what in COMMANDS.items()]
    lines += ["", "Choices of train (choice=name; `dlzoo list <choice>` for all)"]
    for choice in config.choices():
        found = [name for name in config.options(choice) if name != "default"]
        some = ", ".join(found[:8]) + (f", ... ({len(found)})" if len(found) > 8 else "")
        lines.append(f"  {choice:<11} {some or '(none yet)'}")
    lines += ["", "Settings of train (key=value; `dlzoo show <choice> <name>` for those of a choice)"]
    settings = knobs_of(RunSettings) | {f"trainer.{name}": schema for name, schema in knobs_of(TrainerSettings).items()}
    for choice in REGISTRIES:
        settings |= {f"{choice}.{name}": schema for name, schema in index.load()[choice]["common"].items()}
    lines += [f"  {name:<30} {json.dumps(schema['default']).strip(chr(34))}" for name, schema in settings.items()]
    lines += [
        "",
        "Examples",
        "  python train.py model=densenet121 norm=gn",
        "  python train.py data=cifar10 data.download=true",
    ]
    return "\n".join(lines)


def candidates(line: str) -> list[str]:
    """Completions of the last word of a command line; of `norm=g` only what follows the `=`, as bash wants it."""
    *words, word = line.split(" ")
    words = [item for item in words[1:] if item]
    command = words[0] if words and words[0] in COMMANDS else "train"
    if not words and "=" not in word:
        return _starting(word, [*COMMANDS, *(f"{choice}=" for choice in config.choices())])
    if command in ("list", "show"):
        return _starting(word, config.choices() if len(words) == 1 else _names_or_none(words[1]))
    if command in ("eval", "predict", "run", "completion"):
        return _starting(word, ["run="]) if command in ("eval", "predict") else []
    key, equals, value = word.partition("=")
    if equals:
        return _starting(value, config.options(key) if key in config.choices() else [])
    chosen = dict(item.split("=", 1) for item in words if "=" in item)
    return _starting(word, _keys(chosen))


def _keys(chosen: dict[str, str]) -> list[str]:
    keys = [f"{name}=" for name in (*config.choices(), *knobs_of(RunSettings))]
    keys += [f"trainer.{name}=" for name in knobs_of(TrainerSettings)]
    for choice in REGISTRIES:
        knobs = dict(index.load()[choice]["common"])
        if chosen.get(choice) in index.entries(choice):
            knobs |= index.knobs(choice, chosen[choice])
        keys += [f"{choice}.{name}=" for name in knobs]
    return keys


def _names_or_none(choice: str) -> list[str]:
    return config.options(choice) if choice in config.choices() else []


def _starting(word: str, words: list[str]) -> list[str]:
    return [candidate for candidate in words if candidate.startswith(word)]


COMPLETION = """\
_dlzoo() { local IFS=$'\\n'; COMPREPLY=($(dlzoo completion --line "${COMP_LINE:0:COMP_POINT}")); }
complete -o nospace -o default -F _dlzoo dlzoo train.py ./train.py"""
