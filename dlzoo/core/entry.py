"""An entry of a registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.schema import check, settings_of, unwrap, wiring_of


@dataclass(frozen=True)
class Entry:
    """A technique: its builder, its source, and the metadata of its registration (norm="bn" of a model)."""

    choice: str
    name: str
    builder: Callable[..., Any]
    source: str
    marks: Any

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        return settings_of(self.builder)

    @property
    def doc(self) -> str:
        """The docstring of the builder, or of the function that a partial wraps."""
        return inspect.getdoc(unwrap(self.builder)) or ""

    @property
    def module(self) -> str:
        """The module of the builder."""
        return unwrap(self.builder).__module__

    @cached_property
    def wiring(self) -> list[str]:
        return wiring_of(self.builder)

    def build(self, /, *, wiring: dict[str, Any] | None = None, **settings: Any) -> Any:
        """Call the builder with `settings`, and with the arguments in `wiring` that it takes.

        If injected arguments are missing, return a partial of the builder that takes them: a norm still needs its
        channels, an optimizer its parameters.

        Raises:
            UserError: for a setting that the entry does not have, or a value of the wrong type or range.
        """
        where = f"{self.choice}={self.name}"
        arguments = {name: value for name, value in (wiring or {}).items() if name in self.wiring}
        for name, value in settings.items():
            if name in self.wiring:
                arguments[name] = value
            elif name not in self.settings:
                raise UserError(f"{where} has no setting {name!r}; {did_you_mean(name, self.settings)}")
            else:
                arguments[name] = check_setting(where, name, self.settings[name], value)
        bound = partial(self.builder, **arguments)
        return bound() if set(self.wiring) <= set(arguments) else bound


def check_setting(where: str, name: str, schema: dict[str, Any], value: Any) -> Any:
    """Return the value of a setting, checked against its schema.

    Raises:
        UserError: if it is of the wrong type or range; `where` is the entry, such as "norm=gn".
    """
    try:
        return check(schema, value)
    except ValueError as error:
        raise UserError(f"{where}: {name} {error}") from None
