"""The name of a run inside its sweep: what it overrides, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from dlzoo.config.overrides import parse
from dlzoo.runs.differences import NAMES, flat, format_value

Config = dict[str, Any]

#: File systems take 255 bytes; what is added to a name (.partial, a number) has to fit as well.
_LONGEST = 160


def address(overrides: Sequence[str], config: Config) -> str:
    """ "data.batch_size=8,norm=gn,seed=0": the same for every order and spelling of the same overrides.

    Args:
        overrides: what was typed for this run.
        config: what they come to. Its values are spelled in one way only.
    """
    settings, words = flat(config), {}
    for line in overrides:
        override = parse(line)
        key, value = override.key_or_group, override.value()
        if key not in NAMES:
            # A choice that is no entry of a registry (trainer, experiment) is gone from the config.
            words[key] = _plain(settings.get(key, value))
    exact = ",".join(f"{key}={word}" for key, word in sorted(words.items()))
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "-", exact)
    if safe != exact or len(safe) > _LONGEST:
        safe = f"{safe[:_LONGEST]}-{hashlib.sha1(exact.encode()).hexdigest()[:8]}"
    return safe or "defaults"


def _plain(value: Any) -> str:
    """A value without brackets: they mean something to a shell."""
    return "+".join(map(_plain, value)) if isinstance(value, list) else format_value(value)
