"""Parts files: Python files of a user's own that register entries, and that no package installs."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import read_bytes

#: Most Python files of a folder of parts: a larger number is a mistyped folder.
_MOST = 200

_importing: list[PartsFile] = []
_imported: set[str] = set()


@dataclass(frozen=True)
class PartsFile:
    """A Python file, or a folder of them, that registers entries when it is imported.

    The files of a folder are the modules of one package: they import each other as in `from .blocks import Block`.

    Args:
        path: where it is read from: the user's own, or the copy in a run directory.
        sha256: the hash of its Python sources.
        origin: the user's own.
    """

    path: Path
    sha256: str
    origin: Path

    @classmethod
    def read(cls, path: Path, origin: Path | None = None) -> PartsFile:
        """Return the parts file at a path.

        Raises:
            UserError: if it is no Python file, or a folder without any.
        """
        return cls(path, _hash(path), origin or path)

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        return self.path.name

    @property
    def module(self) -> str:
        """The name of its module."""
        stem = "".join(letter if letter.isalnum() else "_" for letter in self.path.stem)
        return f"dlzoo_parts_{self.sha256[:16]}_{stem}"

    def copy_to(self, folder: Path) -> None:
        """Copy the Python sources to `folder`, under the same name."""
        for source in _sources(self.path):
            target = folder / self.name / source.relative_to(self.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())

    def load(self) -> None:
        """Import it, once in a process; what it registers is then among the entries of the registries.

        Raises:
            UserError: if that fails, with the file and the line.
        """
        if self.sha256 in _imported:
            return
        _imported.add(self.sha256)
        _importing.append(self)
        try:
            with _without_bytecode():
                self._import()
        except BaseException as error:
            _imported.discard(self.sha256)
            for name in [name for name in sys.modules if name.partition(".")[0] == self.module]:
                del sys.modules[name]
            if isinstance(error, (Exception, SystemExit)):
                raise UserError(f"{self.describe_error(error) or self.path}{_hint(error)}") from error
            raise
        finally:
            _importing.pop()

    def describe_error(self, error: BaseException) -> str | None:
        """Return "mine.py, line 7, in forward: ValueError: ..." for an error that began here; None for another."""
        if isinstance(error, SyntaxError) and error.filename and self._contains(error.filename):
            return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if self._contains(frame.filename)]
        if not frames:
            return None
        where = f"{frames[-1].filename}, line {frames[-1].lineno}"
        where += "" if frames[-1].name == "<module>" else f", in {frames[-1].name}"
        said = first_line(error)
        return f"{where}: {said if isinstance(error, UserError) else f'{type(error).__name__}: {said}'}"

    def _contains(self, path: str) -> bool:
        """Return whether a source is the file, or in the folder, at its place or at that of the user's own."""
        return any(Path(path).is_relative_to(place) for place in (self.path, self.origin))

    def _import(self) -> None:
        if not self.path.is_dir():
            _execute(_Loader(self.module, str(self.path)), self.module)
            return
        package = ModuleType(self.module)
        package.__path__ = [str(self.path)]
        sys.modules[self.module] = package
        for source in sorted(self.path.glob("*.py")):
            if source.name == "__init__.py":
                spec = ModuleSpec(self.module, _Loader(self.module, str(source)), is_package=True)
                spec.submodule_search_locations = [str(self.path)]
                package.__spec__ = spec
                assert spec.loader is not None
                spec.loader.exec_module(package)
            else:
                importlib.import_module(f"{self.module}.{source.stem}")


def importing() -> PartsFile | None:
    """Return the parts file that is being imported; None if there is none."""
    return _importing[-1] if _importing else None


class _Loader(SourceFileLoader):
    """Loads a file from its source: cached bytecode is keyed by seconds, and would be old after a quick edit."""

    def get_code(self, fullname: str) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.source_to_code(self.get_data(self.path), self.path)


def _execute(loader: SourceFileLoader, name: str) -> None:
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    loader.exec_module(module)


@contextmanager
def _without_bytecode() -> Iterator[None]:
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name:
        return "; a parts file imports installed packages only: to import files beside it, name their folder,"\
               f" parts=FOLDER, and write `from .{error.name} import ...`"  # fmt: skip
    return ""


def _hash(path: Path) -> str:
    hashed = hashlib.sha256()
    for source in _sources(path):
        _add(hashed, source.relative_to(path), read_bytes(source))
    return hashed.hexdigest()


def hash_of(source: str) -> str:
    """Return the hash of a parts file with this content."""
    _add(hashed := hashlib.sha256(), Path(), source.encode())
    return hashed.hexdigest()


def _add(hashed: hashlib._Hash, name: Path, content: bytes) -> None:
    hashed.update(f"{name.as_posix()} {len(content)}\n".encode())
    hashed.update(content)


def _sources(path: Path) -> list[Path]:
    """Return the Python sources of a file or folder.

    Raises:
        UserError: if there are none.
    """
    if not path.is_dir():
        if not os.path.lexists(path):
            raise UserError(f"parts={path}: there is no such file")
        if path.suffix != ".py":
            raise UserError(f"parts={path}: must be a Python file (.py), or a folder of them")
        return [path]
    sources: list[Path] = []
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        sources += [Path(root, name) for name in sorted(files) if name.endswith(".py")]
        if len(sources) > _MOST:
            raise UserError(f"parts={path}: it has more than {_MOST} Python files; name a folder of parts only")
    if not sources:
        raise UserError(f"parts={path}: it has no Python files")
    return sources
