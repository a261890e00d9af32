"""Configs of sweeps that nobody runs."""

from dlzoo import config as configs
from dlzoo.config import Config
from dlzoo.config.overrides import expand
from dlzoo.core import index
from dlzoo.core.registries import REGISTRIES

RESNET = "model=resnet20"


def sweep(*words: str, seeds: str = "range(3)") -> list[Config]:
    """The configs of `python train.py -m ...`."""
    return [configs.compose(lines) for lines in expand([*words, f"seed={seeds}"], configs.options)[0]]


def each(*arms: str, seeds: str = "range(3)") -> list[Config]:
    """The configs of several such lines, all of ResNet-20."""
    return [config for arm in arms for config in sweep(RESNET, *arm.split(), seeds=seeds)]


def home(choice: str) -> dict[str, str]:
    """A model that has the choice."""
    if choice == "model":
        return {}
    detects = choice in ("backbone", "neck", "box_loss", "nms")
    return {"model": "yolov3" if detects else "hrnet_w18" if choice == "upsample" else "resnet20"}


def with_entries(choice: str, names: list[str], **base: str) -> list[Config]:
    """The config of each entry and two seeds, all else as it is by default: without Hydra, which takes its time."""
    usual, made = configs.compose([]), []
    for name in names:
        given = base | {choice: name}
        sections = {
            section: {"name": given[section]}
            | {key: of["default"] for key, of in index.settings(section, given[section]).items()}
            if section in given
            else ({"name": "default"} if section in configs.DEFAULTS_FROM else usual[section])
            for section in REGISTRIES
        }
        made += [configs.finalise({**usual, **sections, "seed": seed}) for seed in (0, 1)]
    return made
