"""Hydra's grammar of settings, with two additions: choice() takes null, and a value can be read as it was typed.

Importing Hydra takes a quarter of a second, so this module is imported when a setting is parsed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType, QuotedString, Sweep, ValueType
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import CommonTokenStream, InputStream, OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

#: What Hydra says before and after a reason: the call that failed, and the names of the grammar's tokens.
_AROUND = re.compile(r"^(\w+ while evaluating '.*?': )+| expecting (\{.*\}|<EOF>)", re.DOTALL)

#: A range has thousands of these, and the parser needs half a millisecond for each.
_INTEGER = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=(0|[1-9][0-9]{0,17})")


class _Values(HydraOverrideVisitor):
    """Values, as Hydra reads them; Hydra's own choice() takes no null, and drops quotes."""

    def visitFunction(self, ctx: Any) -> Any:  # noqa: N802 - ANTLR's spelling
        if ctx.ID().getText() == "choice" and not ctx.argName():
            values = [self.visitElement(element) for element in ctx.element()]
            if values and not any(isinstance(value, Sweep) for value in values):
                return ChoiceSweep(list=values)
        return super().visitFunction(ctx)


class _Texts(_Values):
    """Values, in which each number, true and null is the text that was typed."""

    def visitPrimitive(self, ctx: Any) -> Any:  # noqa: N802
        value = super().visitPrimitive(ctx)
        return value if isinstance(value, (str, QuotedString)) else ctx.getText().strip()

    def visitFunction(self, ctx: Any) -> Any:  # noqa: N802
        is_choice = ctx.ID().getText() == "choice"
        return super().visitFunction(ctx) if is_choice else _values().visitFunction(ctx)


@cache
def _values() -> _Values:
    return _Values(create_functions())


@cache
def _texts() -> _Texts:
    return _Texts(create_functions())


def read(line: str, *, as_typed: bool = False) -> Override:
    """Parse a setting.

    Args:
        as_typed: whether a number, true or null becomes the text that was typed.

    Raises:
        ValueError: with Hydra's reason.
        RecursionError: for deep brackets.
    """
    if not as_typed and (plain := _INTEGER.fullmatch(line)):
        key, digits = plain.groups()
        return Override(OverrideType.CHANGE, key, ValueType.ELEMENT, int(digits), input_line=line)
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(line))
    parser = OverrideParser(CommonTokenStream(lexer))
    for recognizer in (lexer, parser):
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(listener)
    try:
        visitor: Any = _texts() if as_typed else _values()
        override: Override = visitor.visit(parser.override())
    except HydraException as error:
        raise ValueError(
            _AROUND.sub("", "; ".join(str(error).split("\n")).strip("; ")).replace("'<EOF>'", "the end")
        ) from error
    override.input_line = line
    return override
