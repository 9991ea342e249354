"""Reading settings from the environment, with answers a person can act on.

Every reader names the variable, what was found and what it should look like, in one sentence. Values are never
echoed for variables that can hold a credential.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def text(name: str, default: str = "") -> str:
    """The variable's text, or `default` when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool) -> bool:
    """A yes/no variable."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    value = raw.strip().lower()
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise ImproperlyConfigured(f"{name} must be 1 or 0 (or true/false), not {raw!r}.")


def number(name: str, default: float, *, least: float = 0, most: float | None = None) -> float:
    """A number in [least, most]."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number such as {default:g}, not {raw!r}.") from None
    if not value >= least or (most is not None and value > most):
        bound = f"at least {least:g}" if most is None else f"between {least:g} and {most:g}"
        raise ImproperlyConfigured(f"{name} must be {bound}, not {raw}.")
    return value


def whole(name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """A whole number in [least, most]."""
    value = number(name, default, least=least, most=most)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} must be a whole number such as {default}, not {value:g}.")
    return int(value)


def listing(name: str, default: Sequence[str]) -> list[str]:
    """A comma-separated list."""
    raw = text(name)
    return [part.strip() for part in raw.split(",") if part.strip()] if raw else list(default)


def choice(name: str, default: str, options: Sequence[str]) -> str:
    """One of a few words."""
    value = text(name, default)
    if value not in options:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(options)}, not {value!r}.")
    return value
