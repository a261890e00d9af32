"""The choices that `dlzoo list` and `dlzoo show` know, a line about each, and the choice that has a name."""

from __future__ import annotations

from textwrap import wrap

from dlzoo import config
from dlzoo.config.other_keys import key_meant
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.nearest import nearest, simplify
from dlzoo.core.other_words import NAMES
from dlzoo.core.registries import HOOKS

#: What `dlzoo list` prints about each choice.
ABOUT = {
    "model": "the network",
    "backbone": "the classifier whose feature maps a detector uses",
    "norm": "the normalisation layers of the network",
    "act": "its activation function",
    "conv": "its convolutions",
    "attention": "attention in its blocks",
    "pool": "its downsampling by pooling",
    "drop": "dropout and other noise in its blocks",
    "head": "what makes class scores of its feature maps",
    "upsample": "how feature maps are enlarged",
    "neck": "how a detector combines feature maps of several sizes",
    "init": "how weights are initialised",
    "loss": "the loss function",
    "box_loss": "a detector's loss between predicted and target boxes",
    "nms": "which of several boxes of one object a detector keeps",
    "optimizer": "the optimizer",
    "schedule": "how the learning rate changes during the training",
    "data": "the data set, or the format of your own data",
    "augment": "random changes of the training images",
    "experiment": "comparisons that are defined in files, with a question and what to expect",
    "trainer": "where and how long to train, as a set of settings",
    "executor": "where the runs of a sweep are started",
    "hook": "what happens beside a training, such as loggers: hooks=[csv]",
}
#: Choices that select from another one, in which their names are looked up.
SELECTIONS = {"backbone": "model", "box_loss": "loss"}


def choices() -> list[str]:
    """Return what `dlzoo list` and `dlzoo show` know: the choices of a run, the executor of a sweep, and hooks."""
    return [*config.choices(), "executor", HOOKS.choice]


def choices_text() -> str:
    """Return the choices as lines of a help text."""
    return "\n".join(["choices:", *wrap(", ".join(choices()), 100, initial_indent="  ", subsequent_indent="  ")])


def counts() -> dict[str, dict[str, str | int]]:
    """Return choice -> {"count": the number of its names, "about": a line}."""
    return {choice: {"count": len(config.names_of(choice)), "about": ABOUT[choice]} for choice in choices()}


def lines() -> list[str]:
    """Return the choices, one per line, with the number of their names."""
    known = counts()
    width = max(map(len, known))
    return [f"{choice:<{width}}  {each['count']:>3}  {each['about']}" for choice, each in known.items()]


def unknown_choice(choice: str) -> UserError:
    """Return the error for an unknown choice; "dataset" is known to mean data."""
    other = key_meant(choice)
    hint = f"did you mean {other!r}?" if other in choices() else did_you_mean(choice, choices(), "dlzoo list")
    return UserError(f"unknown choice {choice!r}; {hint}")


def choice_of(name: str) -> str:
    """Return the choice that has an entry of this name.

    Raises:
        UserError: if none has, or several have, with what to type.
    """
    homes = [choice for choice in choices() if name in config.names_of(choice)]
    homes = [choice for choice in homes if SELECTIONS.get(choice) not in homes]
    if len(homes) == 1:
        return homes[0]
    if homes:
        raise UserError(f"{name!r} is the name of several entries: {_commands([(each, name) for each in homes])}")
    raise UserError(f"there is no entry {name!r}; {_instead(name)}")


def _instead(name: str) -> str:
    """Return a hint for the name of no entry and no choice."""
    word = simplify(name)
    others = [(choice, names[word]) for choice, names in NAMES.items() if word in names and choice not in SELECTIONS]
    meant = key_meant(name)
    near = [meant] if meant in choices() else nearest(name, choices())
    if not others and near:
        return f"did you mean `dlzoo show {near[0]}`?"
    if not others:
        every = {each: choice for choice in reversed(choices()) for each in config.names_of(choice)}
        others = [(every[each], each) for each in nearest(name, every)]
    if others:
        return f"did you mean {_commands(others[:3])}?"
    return f"`dlzoo list` lists the choices, and `dlzoo find {name}` searches everything"


def _commands(entries: list[tuple[str, str]]) -> str:
    return " or ".join(f"`dlzoo show {choice} {name}`" for choice, name in entries)
