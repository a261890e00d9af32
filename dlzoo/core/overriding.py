"""Which methods of a base class an object overrides."""

from __future__ import annotations


def overrides(instance: object, base: type, method: str) -> bool:
    """Return whether an object overrides a method of `base`, in its class or, like LambdaCallback, on the instance."""
    return getattr(getattr(instance, method), "__func__", None) is not getattr(base, method)
