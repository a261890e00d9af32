"""The registry class, which maps names to callables, and its entries. The instances are in core/registries.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from dlzoo.core import own_parts, plug_ins
from dlzoo.core.entries import Marks
from dlzoo.core.entry import Entry, check_setting
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.nearest import simplify
from dlzoo.core.other_words import NAMES
from dlzoo.core.parts_file import PartsFile, importing
from dlzoo.core.schema import settings_of

Builder = TypeVar("Builder", bound=Callable[..., Any])


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
        # Entries of no package: hash of the parts file, or "" for this process -> name -> entry.
        self._own: dict[str, dict[str, Entry]] = {}
        self._loaded = self._loading = False
        _registries.append(self)

    def register(self, name: str, *, source: str = "", **marks: Any) -> Callable[[Builder], Builder]:
        """Return a decorator that adds a builder under `name`.

        An entry of your own is available in this process, or, if a parts file registers it, wherever that file is used.
        In a notebook, a cell that registers it once more replaces it.

        Args:
            source: the paper and its section or equation; entries of dlzoo need one.
            marks: metadata: the fields of the registry's dataclass in core/entries.py.

        Raises:
            TypeError: for an unknown mark, or if the source of an entry of dlzoo is missing.
            ValueError: if the name is taken.
        """
        metadata = self.marks(**marks)
        of_package = _is_of_package(sys._getframe(1).f_globals.get("__name__", ""))
        if of_package and not source:
            raise TypeError(f"{self.choice}={name} needs a source")

        def add(builder: Builder) -> Builder:
            entry = Entry(self.choice, name, builder, source, metadata)
            if of_package:
                self._refuse_taken(name, self._entries)
                self._entries[name] = entry
            else:
                self._add_own(entry)
            return builder

        return add

    def _add_own(self, entry: Entry) -> None:
        file = importing()
        own = self._own.setdefault(file.sha256 if file else "", {})
        self._load()
        self._refuse_taken(entry.name, self._entries)
        if file or not _is_interactive():
            self._refuse_taken(entry.name, own)
        own[entry.name] = entry
        if file is None:
            own_parts.count_registration()

    def _refuse_taken(self, name: str, entries: Mapping[str, Entry]) -> None:
        if name in entries:
            raise ValueError(f"{self.choice}={name} is already registered by {entries[name].module}")

    def own(self, origin: str) -> Mapping[str, Entry]:
        """Return the entries that a parts file registered, given its hash, or that this process did, for ""."""
        return self._own.get(origin, {})

    def of_packages(self) -> Mapping[str, Entry]:
        """Return the entries of dlzoo and its plug-ins, by name in alphabetical order."""
        self._load()
        return dict(sorted(self._entries.items()))

    def names(self) -> list[str]:
        """Return the sorted names, without hidden entries."""
        return sorted(name for name, entry in self._visible().items() if not entry.marks.hidden)

    def __getitem__(self, name: str) -> Entry:
        """Return the entry `name`.

        Raises:
            UserError: for an unknown name, with the closest ones.
        """
        entries = self._visible()
        if name not in entries:
            other = NAMES.get(self.choice, {}).get(simplify(str(name)), str(name))
            raise UserError(f"unknown {self.choice} {name!r}; {did_you_mean(other, entries)}")
        return entries[name]

    def _visible(self) -> Mapping[str, Entry]:
        """Return the entries of packages, of this process, and of the parts files in use, which take precedence."""
        self._load()
        files, entries = own_parts.in_use(), self._entries
        for file in files:
            load_parts_file(file)
        for origin in ("", *(file.sha256 for file in files)):
            if added := self.own(origin):
                entries = {**entries, **added}
        return entries

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
                    values[name] = check_setting(where, name, schema, settings.pop(name))
            shared = common(**values)
        return shared, entry.build(wiring=wiring, **settings)

    def common_settings(self) -> Callable[..., Any] | None:
        """Return the class of the settings that every entry shares, or None."""
        if self.common is None:
            return None
        module, _, name = self.common.partition(":")
        return getattr(importlib.import_module(module), name)

    def _load(self) -> None:
        if self._loaded or self._loading:
            return
        self._loading = True
        try:
            plug_ins.import_modules(self.package)
            plug_ins.load(self.choice)
            # The folder of a task also registers its own models, losses and data sets.
            plug_ins.import_modules("dlzoo.tasks")
            plug_ins.load("task")
            self._loaded = True
        finally:
            self._loading = False


def _is_of_package(module: str) -> bool:
    """Return whether a module belongs to dlzoo, or is imported as a plug-in of it."""
    return module.partition(".")[0] == "dlzoo" or plug_ins.are_loading()


def _is_interactive() -> bool:
    """Return whether code is typed into a notebook or an interpreter, rather than read from a file."""
    return hasattr(sys.modules["__main__"], "In") or hasattr(sys, "ps1")


#: Every registry.
_registries: list[Registry] = []


def load_parts_file(file: PartsFile) -> None:
    """Import a parts file, once in a process; if it fails, nothing of it is registered.

    Raises:
        UserError: if it fails, with the file and the line.
    """
    try:
        file.load()
    except BaseException:
        for registry in _registries:
            registry._own.pop(file.sha256, None)
        raise


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

    def own(self, origin: str) -> Mapping[str, Entry]:
        return self._select(self._of.own(origin))

    def _load(self) -> None:
        if not self._loaded:
            self._of._load()
            self._entries, self._loaded = self._select(self._of._entries), True

    def _select(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        return {
            name: replace(entry, choice=self.choice) for name, entry in entries.items() if self._admits(entry.marks)
        }
