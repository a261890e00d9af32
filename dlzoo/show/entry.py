"""`dlzoo show`: an entry's description, source, knobs, and a model's size."""

from __future__ import annotations

import json
from inspect import getdoc
from typing import Any

import yaml

from dlzoo import config, index
from dlzoo.errors import UserError, did_you_mean
from dlzoo.executors import settings as executors
from dlzoo.knobs import describe, knobs_of
from dlzoo.registry import REGISTRIES
from dlzoo.settings import TrainerSettings
from dlzoo.show.listing import choices


def entry(choice: str, name: str) -> dict[str, Any]:
    """What is known of an entry; of a model also its size at 224 px with 1000 classes and at 32 px with 10.

    Raises:
        UserError: for an unknown choice or name.
    """
    if choice not in choices():
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(choice, choices())}")
    if name not in config.options(choice) or name == "default":
        raise UserError(f"unknown {choice} {name!r}; {did_you_mean(name, config.options(choice))}")
    if choice not in REGISTRIES:
        return _written(choice, name)
    found = {"choice": choice, "name": name, **index.entries(choice)[name], "knobs": index.knobs(choice, name)}
    if choice == "model":
        found["sizes"] = [_size(name, 224, 1000), _size(name, 32, 10)]
    return found


def _written(choice: str, name: str) -> dict[str, Any]:
    """What is known of a file under conf/: its head, and for a trainer its settings."""
    content = (config.conf_dir() / choice / f"{name}.yaml").read_text()
    head = config.head(choice, name)
    if choice == "executor":
        doc = "\n".join([*head, "", executors.meaning(name)])
        knobs = executors.knobs(name)
        return {"choice": choice, "name": name, "doc": doc, "source": "", "meta": {}, "knobs": knobs}
    knobs = knobs_of(TrainerSettings) if choice == "trainer" else {}
    if choice == "trainer":
        head += ["", getdoc(TrainerSettings) or ""]
    for key, value in yaml.safe_load(content).items():
        if key in knobs:
            knobs[key] |= {"default": value}
    return {"choice": choice, "name": name, "doc": "\n".join(head), "source": "", "meta": {}, "knobs": knobs}


def _size(name: str, image_size: int, num_classes: int) -> dict[str, int]:
    # torch takes seconds to import: only a model's size needs it.
    from dlzoo.size import size

    wiring = {"num_classes": num_classes, "in_channels": 3, "image_size": image_size}
    params, macs = size(config.compose([f"model={name}"]), wiring, batch_size=2)
    return {"image_size": image_size, "num_classes": num_classes, "params": params, "macs": macs}


def text(found: dict[str, Any]) -> str:
    """`entry` for a terminal."""
    lines = [f"{found['choice']}={found['name']}", "", found["doc"].rstrip(), ""]
    if found["source"]:
        lines += [f"source   {found['source']}"]
    lines += [f"{f'{kind}=default':<15} means {kind}={part}" for kind, part in found["meta"].items()]
    for size in found.get("sizes", []):
        lines.append(
            f"{size['image_size']} px, {size['num_classes']} classes: {size['params']:,} parameters,"
            f" {size['macs'] / 1e6:,.1f} M multiply-accumulates"
        )
    if found["knobs"]:
        lines += ["", "settings"]
    shown = {
        f"{found['choice']}.{name}={json.dumps(schema['default']).strip(chr(34))}": describe(schema)
        for name, schema in found["knobs"].items()
    }
    width = max(map(len, shown), default=0)
    return "\n".join([*lines, *(f"  {setting:<{width}}  {kind}" for setting, kind in shown.items())])
