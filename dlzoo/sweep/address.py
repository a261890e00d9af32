"""Name a run within its sweep by the settings that it overrides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from dlzoo.config import Config
from dlzoo.config.overrides import parse
from dlzoo.runs.differences import NOT_COMPARED, flatten, format_value

#: File systems allow 255 bytes; suffixes (.partial, a number) must fit as well.
_LONGEST = 160


def address(overrides: Sequence[str], config: Config) -> str:
    """Return "data.batch_size=8,norm=gn,seed=0", the same for every order and spelling of the same overrides.

    Args:
        overrides: the overrides of this run, as typed.
        config: the composed config, in which each value has one spelling.
    """
    settings, words = flatten(config), {}
    for line in overrides:
        override = parse(line)
        key, value = override.key_or_group, override.value()
        if key.partition(".")[0] not in NOT_COMPARED:
            # Choices without a registry (trainer, experiment) are not in the composed config.
            words[key] = _plain_text(settings.get(key, value))
    exact = ",".join(f"{key}={word}" for key, word in sorted(words.items()))
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "-", exact)
    if safe != exact or len(safe) > _LONGEST:
        safe = f"{safe[:_LONGEST]}-{hashlib.sha1(exact.encode()).hexdigest()[:8]}"
    return safe or "defaults"


def _plain_text(value: Any) -> str:
    """Return a value in words, without brackets, which are special to a shell."""
    return "+".join(map(_plain_text, value)) if isinstance(value, list) else format_value(value)
