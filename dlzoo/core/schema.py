"""Schemas of settings, derived from the signature of an entry.

A parameter with a default is a setting: it appears in the config, typed by its annotation. A parameter without a
default is injected when the entry is built. The types are stored in a subset of JSON Schema, so that the index can
hold them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]


@dataclass(frozen=True)
class Bounds:
    """Limits of a number or of the length of a list, with the keys of JSON Schema."""

    minimum: float | None = None
    maximum: float | None = None
    exclusiveMinimum: float | None = None  # noqa: N815 - JSON Schema's spelling
    exclusiveMaximum: float | None = None  # noqa: N815
    minItems: int | None = None  # noqa: N815
    maxItems: int | None = None  # noqa: N815


#: The largest integer and the longest list of a setting that has no closer limit. What is beyond them is a slip, and
#: would fill the memory or never end.
LARGEST, LONGEST = 1_000_000_000, 100_000
#: The largest number of layers that a setting makes.
_LAYERS = 1000

PositiveInt = Annotated[int, Bounds(minimum=1, maximum=LARGEST)]
NonNegativeInt = Annotated[int, Bounds(minimum=0, maximum=LARGEST)]
#: A seed costs nothing, however large it is.
Seed = Annotated[int, Bounds(minimum=0, maximum=2**63 - 1)]
#: Processes on a machine, threads of a process, machines.
Processes = Annotated[int, Bounds(minimum=1, maximum=1024)]
#: A side of a tensor: channels, or the side of a kernel.
Size = Annotated[int, Bounds(minimum=1, maximum=100_000)]
#: How many layers follow each other.
Depth = Annotated[int, Bounds(minimum=1, maximum=_LAYERS)]
Sizes = Annotated[tuple[Size, ...], Bounds(maxItems=_LAYERS)]
Positive = Annotated[float, Bounds(exclusiveMinimum=0)]
NonNegative = Annotated[float, Bounds(minimum=0)]
Fraction = Annotated[float, Bounds(minimum=0, maximum=1)]
BelowOne = Annotated[float, Bounds(minimum=0, exclusiveMaximum=1)]

#: Most characters of a word, as for a path on Linux; and of a value in a message.
_LONGEST_WORD, _SHOWN = 4096, 200
#: Larger integers may not fit into a float.
_FITS = 2**64

_SCALARS: dict[type, str] = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}
_WORDS = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "a word",
    "null": "null",
}


def schema_of(annotation: Any) -> Schema:
    """Return the schema of an annotation.

    Raises:
        TypeError: for a type that a config cannot hold; a setting needs int, float, bool, str, None, Literal,
            tuple[X, ...] or a union of them.
    """
    if annotation in _SCALARS:
        return {"type": _SCALARS[annotation]}
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        schema = schema_of(args[0])
        for bounds in args[1:]:
            schema |= {key: limit for key, limit in vars(bounds).items() if limit is not None}
        return schema
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(arg) for arg in args]}
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": schema_of(args[0]), "maxItems": LONGEST}
    raise TypeError(f"a setting cannot have the type {annotation!r}")


@cache  # a sweep asks for the same ones for each of its runs
def settings_of(function: Callable[..., object]) -> dict[str, Schema]:
    """Return the settings of a signature: name -> schema with its "default". The result is shared: do not change it.

    Raises:
        TypeError: for a parameter without annotation, or of a type that a config cannot hold.
    """
    signed = unwrap(function)
    hints = get_type_hints(signed.__init__ if inspect.isclass(signed) else signed, include_extras=True)
    settings = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            default = parameter.default
            if name not in hints:
                raise TypeError(f"the parameter {name!r} has no annotation; write its type, as in {name}: float = ...")
            settings[name] = schema_of(hints[name]) | {
                "default": list(default) if isinstance(default, tuple) else default
            }
    return settings


def wiring_of(function: Callable[..., object]) -> list[str]:
    """Return the names of the parameters without a default: the injected arguments.

    Without *args and **kwargs, which are all that a subclass of nn.Module without an `__init__` of its own takes.
    """
    parameters = inspect.signature(function).parameters.values()
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is inspect.Parameter.empty and each.kind not in collecting]


def unwrap(function: Callable[..., Any]) -> Any:
    """Return the function that partials wrap."""
    while isinstance(function, partial):
        function = function.func
    return function


def describe(schema: Mapping[str, Any], *, limits: bool = False) -> str:
    """Return `schema` in words: "an integer >= 1 or null"; with `limits`, also the limits that only slips exceed."""
    if "enum" in schema:
        return " or ".join(str(choice) for choice in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(describe(part, limits=limits) for part in schema["anyOf"])
    if schema["type"] == "array":
        most = f" of at most {schema['maxItems']:,}" if limits else ""
        if schema.get("minItems") == schema["maxItems"]:
            most = f" of {schema['maxItems']:,}"
        return f"a list{most}, each {describe(schema['items'], limits=limits)}"
    words = _WORDS[schema["type"]]
    limited = "maximum" in schema and (limits or schema["maximum"] < LARGEST)
    if limited and "minimum" in schema:
        return f"{words} from {schema['minimum']:g} to {_spell(schema['maximum'])}"
    if limited and "exclusiveMinimum" in schema:
        return f"{words} > {schema['exclusiveMinimum']:g} and <= {_spell(schema['maximum'])}"
    if "minimum" in schema and "exclusiveMaximum" in schema:
        return f"{words} >= {schema['minimum']:g} and < {schema['exclusiveMaximum']:g}"
    if "minimum" in schema:
        return f"{words} >= {schema['minimum']:g}"
    if "exclusiveMinimum" in schema:
        return f"{words} > {schema['exclusiveMinimum']:g}"
    return words


def _spell(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


def check(schema: Mapping[str, Any], value: Any) -> Any:
    """Return `value` converted to the type of `schema` (an int becomes a float if the schema is a number).

    Raises:
        ValueError: "must be an integer >= 1, not 0".
    """
    try:
        return _check(schema, value)
    except ValueError:
        limits = f" of at most {_LONGEST_WORD:,} bytes" if isinstance(value, str) and len(value) > _SHOWN else ""
        raise ValueError(
            f"must be {describe(schema, limits=_is_huge(value))}{limits}, not {_abbreviated(value)}"
        ) from None


def _abbreviated(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}... ({len(text):,} characters)"


def _is_huge(value: Any) -> bool:
    """Return whether a value is, or has, more than settings without a closer limit allow."""
    if isinstance(value, (list, tuple)):
        return len(value) > _LAYERS or any(map(_is_huge, value))
    return isinstance(value, (int, float)) and value >= LARGEST


def _check(schema: Mapping[str, Any], value: Any) -> Any:
    if "anyOf" in schema:
        for part in schema["anyOf"]:
            try:
                return _check(part, value)
            except ValueError:
                continue
        raise ValueError
    if "enum" in schema:
        if any(value == choice and type(value) is type(choice) for choice in schema["enum"]):
            return value
        raise ValueError
    kind = schema["type"]
    if type(value) is int and abs(value) > _FITS:
        raise ValueError
    if kind == "array":
        if isinstance(value, (list, tuple)) and schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
            return tuple(_check(schema["items"], item) for item in value)
        raise ValueError
    if kind == "number" and type(value) is int:
        value = float(value)
    if _SCALARS.get(type(value)) != kind or value == "":
        raise ValueError
    if kind == "string":
        return _check_text(str(value))
    if kind in ("integer", "number") and not (math.isfinite(value) and _is_within(schema, value)):
        raise ValueError
    return value


def _check_text(value: str) -> str:
    """Return a word that files can store and name: UTF-8 without NUL, not longer than a path."""
    if len(value.encode()) > _LONGEST_WORD or "\0" in value:  # a surrogate is a ValueError, too
        raise ValueError
    return value


def _is_within(schema: Mapping[str, Any], value: float) -> bool:
    return schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf) and schema.get(
        "exclusiveMinimum", -math.inf
    ) < value < schema.get("exclusiveMaximum", math.inf)
