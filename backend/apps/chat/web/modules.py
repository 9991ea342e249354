"""Which modules a page's script brings along: told up front, they load side by side, not one after another."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "static"
_IMPORT = re.compile(r'\b(?:from|import) "(\.{1,2}/[^"]+)"')


@cache
def modules_of(entry: str) -> list[str]:
    """The static names of `entry` and of all it imports, directly or not; `entry` is a static name itself."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imported_by(name)
    return sorted(found)


def _imported_by(name: str) -> list[str]:
    text = (STATIC / name).read_text(encoding="utf-8")
    return [os.path.normpath(Path(name).parent / path) for path in _IMPORT.findall(text)]
