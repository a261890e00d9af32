"""The source of entries that were registered in a script or notebook, as a parts file of its own."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dlzoo.core.entry import Entry
from dlzoo.core.errors import UserError
from dlzoo.core.registry import Registry
from dlzoo.core.schema import unwrap


def source_of(entries: Sequence[Entry]) -> str:
    """Return Python source that registers entries of one module: their statements, and those that they refer to.

    Of the module only imports, definitions and assignments of names that are used are taken, so that nothing else in a
    script or in the cells of a notebook runs.

    Raises:
        UserError: if an entry was not registered by a statement that can be found there.
    """
    statements = _statements(entries[0].module)
    binders: dict[str, ast.stmt] = {name: each for each in statements for name in _bound(each)}
    wanted = [_registration(entry, statements) for entry in entries]
    taken: set[int] = set()
    while wanted:
        statement = wanted.pop()
        if id(statement) not in taken:
            taken.add(id(statement))
            wanted += [binders[name] for name in _used(statement) if name in binders]
    futures = [each for each in statements if isinstance(each, ast.ImportFrom) and each.module == "__future__"]
    kept = [*futures[:1], *(each for each in statements if id(each) in taken and each not in futures)]
    return "\n\n".join(ast.unparse(statement) for statement in kept) + "\n"


def module_file(entry: Entry) -> str:
    """Return a name for the file of an entry's source: that of its script, or notebook.py."""
    file = getattr(sys.modules.get(entry.module), "__file__", None)
    return Path(file).with_suffix(".py").name if file else "notebook.py"


def _statements(module: str) -> list[ast.stmt]:
    """Return the statements at the top of a module, or of all cells of a notebook that were executed."""
    loaded = sys.modules.get(module)
    cells: Iterable[Any] = getattr(loaded, "In", ())  # of IPython
    file = getattr(loaded, "__file__", None)
    try:
        texts = [Path(file).read_text()] if file else list(map(str, cells))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the source of {module} cannot be read: {error}") from error
    return list(chain.from_iterable(map(_parse, texts)))


def _parse(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except SyntaxError:  # a cell that failed
        return []


def _registration(entry: Entry, statements: Sequence[ast.stmt]) -> ast.stmt:
    """Return the last statement that registers an entry.

    Raises:
        UserError: if there is none.
    """
    module = sys.modules.get(entry.module)
    names = {} if module is None else vars(module)
    for statement in reversed(statements):
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Expr, ast.Assign)) and any(
            _registers(node, entry, names) for node in _outer(statement)
        ):
            return statement
    name = getattr(unwrap(entry.builder), "__name__", None)
    raise UserError(
        f"{entry.choice}={entry.name} ({name}) was registered in this process, and its source cannot be found; put it"
        " into a file and name the file: parts=./mine.py"
    )


def _outer(statement: ast.stmt) -> list[ast.AST]:
    """Return the nodes of a statement that run when it does: of a definition only its decorators."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [node for each in statement.decorator_list for node in ast.walk(each)]
    return list(ast.walk(statement))


def _registers(node: ast.AST, entry: Entry, names: Mapping[str, Any]) -> bool:
    """Return whether a node registers an entry; `names` are those of its module."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "register"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == entry.name
        and _may_have(_value_of(node.func.value, names), entry)
    )


def _may_have(registry: object, entry: Entry) -> bool:
    """Return whether a registry has an entry, and not another one of this name; True if it is no known registry."""
    if not isinstance(registry, Registry):
        return True
    registered = registry.own("").get(entry.name)
    return registered is not None and registered.builder is entry.builder


def _value_of(node: ast.expr, names: Mapping[str, Any]) -> object:
    """Return the value of a dotted name, such as dlzoo.NORMS; None for another expression."""
    if isinstance(node, ast.Attribute):
        return getattr(_value_of(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement at the top of a module binds."""
    names: set[str] = set()
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    for node in ast.walk(statement):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


def _used(statement: ast.stmt) -> set[str]:
    """Return the names that a statement refers to, in annotations that are text, too."""
    names: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.arg) and isinstance(node.annotation, ast.Constant):
            names |= {each.id for each in ast.walk(ast.parse(str(node.annotation.value))) if isinstance(each, ast.Name)}
    return names - (_bound(statement) if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) else set())
