"""What a check found: one line, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`problem` needs a person; `warning` may become one; `do` is what to press, empty when all is well."""

    check: str
    level: Level
    text: str
    do: str = ""


Check = Callable[[], Iterable[Finding]]


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, do: str) -> Finding:
    """Worth knowing; nothing fails yet."""
    return Finding(check, "warning", text, do)


def problem(check: str, text: str, do: str) -> Finding:
    """A person is needed."""
    return Finding(check, "problem", text, do)


def several(items: Iterable[str], most: int = 5) -> str:
    """A list in one line; what is beyond `most` is counted."""
    shown = list(items)
    more = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return "; ".join(shown[:most]) + more


def age(seconds: float) -> str:
    """A length of time as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
