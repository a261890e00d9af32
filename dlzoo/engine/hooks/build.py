"""Build the hooks that a config names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.registries import HOOKS
from dlzoo.engine.hooks.hook import Hook
from dlzoo.engine.hooks.running import describe

#: Always on, in the process that prints: it is built there.
DISPLAY = "display"


@dataclass(frozen=True)
class BuiltHooks:
    """The hooks of a run by name: those of rank 0, and Lightning callbacks, which every rank has."""

    hooks: Mapping[str, Hook]
    callbacks: Mapping[str, Callback]


def check_installed(config: Mapping[str, Any]) -> None:
    """Check that the packages of the chosen hooks are installed.

    Raises:
        UserError: for the first one that is not, with what to install.
    """
    for name in config["hooks"]:
        package = index.marks(HOOKS.choice, name).package
        if package and find_spec(package) is None:
            raise UserError(f"hooks=[{name}] needs the package {package}: pip install 'dlzoo[{package}]'")


def build_hooks(config: Mapping[str, Any], run_dir: Path) -> BuiltHooks:
    """Build the hooks of a finalised config.

    Raises:
        UserError: if a package is missing, or a hook cannot be built.
    """
    check_installed(config)
    hooks, callbacks = dict[str, Hook](), dict[str, Callback]()
    for name in config["hooks"]:
        if name == DISPLAY:
            continue
        built = _build(name, config, run_dir)
        if isinstance(built, Callback):
            callbacks[name] = built
        else:
            hooks[name] = built
    return BuiltHooks(hooks, callbacks)


def _build(name: str, config: Mapping[str, Any], run_dir: Path) -> Hook | Callback:
    entry, injected = HOOKS[name], {"config": config, "run_dir": run_dir}
    if missing := [each for each in entry.wiring if each not in injected]:
        raise UserError(f"hook {name}: its arguments {', '.join(missing)} need a default; only {', '.join(injected)}"
                        " are injected")  # fmt: skip
    try:
        built = entry.build(wiring=injected, **config.get(HOOKS.choice, {}).get(name, {}))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"hook {name} cannot be built: {describe(error)}") from error
    if isinstance(built, partial) or not isinstance(built, (Hook, Callback)):
        raise UserError(f"hook {name}: its builder returned {built!r}, not a dlzoo.Hook or a Lightning callback")
    return built
