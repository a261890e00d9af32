"""Name a run within its sweep by the settings that vary, the factor first and the seed last."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlzoo.config import Config, choices
from dlzoo.config.overrides import parse
from dlzoo.runs.differences import NOT_COMPARED, flatten, format_value

#: File systems allow 255 bytes; suffixes (.partial, a number) must fit as well.
_LONGEST = 160
#: The setting that repeats a run: part of every name, at the end.
_SEED = "seed"


def words_of(overrides: Iterable[str], config: Config) -> dict[str, str]:
    """Return setting -> value of the overrides of a run, without those that do not change a result.

    Args:
        overrides: the overrides, as typed.
        config: the composed config, in which each value has one spelling.
    """
    settings, words = flatten(config), {}
    for line in overrides:
        override = parse(line)
        key, value = override.key_or_group, override.value()
        if key.partition(".")[0] not in NOT_COMPARED:
            # Choices without a registry (trainer, experiment) are not in the composed config.
            words[key] = _plain_text(settings.get(key, value))
    return words


def address(words: Mapping[str, str], factors: Sequence[str]) -> str:
    """Return "norm=gn,batch_size=8,seed=0".

    A key is cut to its last part where that is unambiguous. If nothing varies, all settings are named. A name with
    other characters than letters, digits and ._=,+- or of more than 160 of them is cut, and has a hash at its end.

    Args:
        words: setting -> value, from `words_of`.
        factors: the settings that vary in the sweep, in order.
    """
    named = [key for key in factors if key in words and key != _SEED]
    if not named and _SEED not in words:
        named = list(words)
    short = _short_keys([*factors, *named])
    seed = [f"{_SEED}={words[_SEED]}"] if _SEED in words else []
    return _safe(",".join([*(f"{short[key]}={words[key]}" for key in named), *seed]))


def earlier_address(words: Mapping[str, str]) -> str:
    """Return the name that versions up to 0.1 gave: all settings by their whole keys, sorted."""
    return _safe(",".join(f"{key}={value}" for key, value in sorted(words.items())))


def order_factors(factors: Iterable[str], values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the factors with those whose values are all numbers, the usual contexts of a comparison, at the end."""
    return sorted(dict.fromkeys(factors), key=lambda key: all(type(value) in (int, float) for value in values[key]))


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return key -> its last part, or the key itself if two keys end in the same one, or if a choice has this name."""
    ends = {key: key.rpartition(".")[2] for key in keys}
    taken, reserved = Counter(ends.values()), {*choices(), _SEED}
    return {key: key if taken[end] > 1 or end in reserved else end for key, end in ends.items()}


def _safe(exact: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "-", exact)
    if safe != exact or len(safe) > _LONGEST:
        safe = f"{safe[:_LONGEST]}-{hashlib.sha1(exact.encode()).hexdigest()[:8]}"
    return safe or "defaults"


def _plain_text(value: Any) -> str:
    """Return a value in words, without brackets, which are special to a shell."""
    return "+".join(map(_plain_text, value)) if isinstance(value, list) else format_value(value)
