"""The registry class, which maps names to callables, and its entries. The instances are in core/registries.py."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

from dlzoo.core.entries import Marks
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.schema import check, settings_of, unwrap, wiring_of

Builder = TypeVar("Builder", bound=Callable[..., Any])


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
                arguments[name] = _check_setting(where, name, self.settings[name], value)
        bound = partial(self.builder, **arguments)
        return bound() if set(self.wiring) <= set(arguments) else bound


class Registry:
    """Entries of one kind. The modules of `package` (and of plug-ins) are imported on first look-up.

    Args:
        choice: the word that a user types, as in `norm=gn`; also the entry-point group `dlzoo.<choice>`.
        package: the package whose modules register the entries.
        contract: what an entry returns.
        common: "module:class" of a dataclass with settings that every entry has, such as `data.batch_size`.
        fallback: meaning of `<choice>=default` if the registration of the model or data set does not define it.
        neutral: the part given to a model whose registration does not support the choice.
        marks: the dataclass of the metadata that a registration may have beside the source.
        after_training: whether the choice affects only the post-processing of outputs in evaluation.
    """

    def __init__(
        self,
        choice: str,
        package: str,
        contract: str,
        *,
        marks: type[Marks] = Marks,
        after_training: bool = False,
        common: str | None = None,
        fallback: str | None = None,
        neutral: str | None = None,
    ) -> None:
        self.choice, self.package, self.contract, self.common = choice, package, contract, common
        self.fallback, self.neutral = fallback, neutral
        self.marks, self.after_training = marks, after_training
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(self, name: str, *, source: str, **marks: Any) -> Callable[[Builder], Builder]:
        """Return a decorator that adds a builder under `name`. `source` is the paper and its section or equation.

        Raises:
            TypeError: for an unknown mark.
            ValueError: if the name is taken.
        """
        metadata = self.marks(**marks)

        def add(builder: Builder) -> Builder:
            if name in self._entries:
                taken = self._entries[name].builder
                raise ValueError(f"{self.choice}={name} is already registered by {taken.__module__}")
            self._entries[name] = Entry(self.choice, name, builder, source, metadata)
            return builder

        return add

    def names(self, *, hidden: bool = False) -> list[str]:
        """Return the sorted names; with `hidden`, also those of hidden entries."""
        self._load()
        return sorted(name for name, entry in self._entries.items() if hidden or not entry.marks.hidden)

    def __getitem__(self, name: str) -> Entry:
        """Return the entry `name`.

        Raises:
            UserError: for an unknown name, with the closest ones.
        """
        self._load()
        if name not in self._entries:
            raise UserError(f"unknown {self.choice} {name!r}; {did_you_mean(str(name), self._entries)}")
        return self._entries[name]

    def build(self, name: str, *, wiring: dict[str, Any] | None = None, **settings: Any) -> Any:
        """Return `registry[name].build(...)`."""
        return self[name].build(wiring=wiring, **settings)

    def from_section(self, section: Mapping[str, Any], **wiring: Any) -> tuple[Any, Any]:
        """Return (the common settings of the choice, the result of the entry's builder) for a section of a config.

        Raises:
            UserError: see `Entry.build`.
        """
        settings, common, shared = dict(section), self.common_settings(), None
        entry = self[settings.pop("name")]
        if common is not None:
            values = {}
            for name, schema in settings_of(common).items():
                if name in settings:
                    where = f"{self.choice}={section['name']}"
                    values[name] = _check_setting(where, name, schema, settings.pop(name))
            shared = common(**values)
        return shared, entry.build(wiring=wiring, **settings)

    def common_settings(self) -> Callable[..., Any] | None:
        """Return the class of the settings that every entry shares, or None."""
        if self.common is None:
            return None
        module, _, name = self.common.partition(":")
        return getattr(importlib.import_module(module), name)

    def _load(self) -> None:
        if self._loaded:
            return
        import_modules(self.package)
        load_plugins(self.choice)
        # The folder of a task also registers its own models, losses and data sets.
        import_modules("dlzoo.tasks")
        load_plugins("task")
        self._loaded = True


def _check_setting(where: str, name: str, schema: dict[str, Any], value: Any) -> Any:
    """Return the value of a setting, checked against its schema.

    Raises:
        UserError: if it is of the wrong type or range; `where` is the entry, such as "norm=gn".
    """
    try:
        return check(schema, value)
    except ValueError as error:
        raise UserError(f"{where}: {name} {error}") from None


def import_modules(package: str) -> None:
    """Import all modules and packages in `package`."""
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__, f"{package}."):
        importlib.import_module(module.name)


@cache
def load_plugins(choice: str) -> bool:
    """Import the entry points of the group `dlzoo.<choice>` from other packages, once; return whether all succeeded."""
    succeeded = True
    for point in entry_points(group=f"dlzoo.{choice}"):
        try:
            point.load()
        except Exception as error:
            # A broken plug-in must not make dlzoo unusable.
            print(f"dlzoo: plug-in {point.value} is left out: {first_line(error)}", file=sys.stderr)
            succeeded = False
    return succeeded


class Selection(Registry):
    """A subset of another registry as a choice of its own: box_loss=ciou names a loss, backbone=resnet18 a model.

    Args:
        of: the registry to select from.
        admits: marks of a registration -> whether the entry is included.
    """

    def __init__(
        self,
        choice: str,
        of: Registry,
        contract: str,
        *,
        admits: Callable[[Any], bool],
        common: str | None = None,
    ) -> None:
        super().__init__(choice, of.package, contract, marks=of.marks, common=common)
        self._of, self._admits = of, admits

    def _load(self) -> None:
        if not self._loaded:
            entries = (self._of[name] for name in self._of.names())
            self._entries = {
                entry.name: replace(entry, choice=self.choice) for entry in entries if self._admits(entry.marks)
            }
            self._loaded = True
