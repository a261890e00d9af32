"""Import the modules that register entries: those of a package, and the plug-ins of other packages."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache
from importlib.metadata import entry_points

from dlzoo.core.errors import first_line


def import_modules(package: str) -> None:
    """Import all modules and packages in `package`."""
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__, f"{package}."):
        importlib.import_module(module.name)


#: Groups whose entry points are being imported.
_loading: list[str] = []


@cache
def load(choice: str) -> bool:
    """Import the entry points of the group `dlzoo.<choice>` from other packages, once; return whether all succeeded."""
    succeeded = True
    for point in entry_points(group=f"dlzoo.{choice}"):
        _loading.append(choice)
        try:
            point.load()
        except Exception as error:
            # A broken plug-in must not make dlzoo unusable.
            print(f"dlzoo: plug-in {point.value} is left out: {first_line(error)}", file=sys.stderr)
            succeeded = False
        finally:
            _loading.pop()
    return succeeded


def are_loading() -> bool:
    """Return whether a plug-in is being imported."""
    return bool(_loading)
