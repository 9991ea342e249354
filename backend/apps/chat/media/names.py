"""File names that strangers chose, made harmless: a name, never a path."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from typing import Final

LONGEST: Final = 120
_SEPARATORS: Final = re.compile(r"[\\/:]+")
_UNSAFE: Final = re.compile(r'[<>"|?*]+')
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,8}$")
# Marks that turn the reading direction: "cod\u202efdp.exe" would read as "codexe.pdf".
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(name: str | None) -> str:
    """The last part of a path, without control marks, at most `LONGEST` characters; empty when nothing is left."""
    last = _SEPARATORS.split((name or "")[:4096])[-1]
    shown = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c) not in _HIDDEN)
    plain = " ".join(_UNSAFE.sub("_", shown).split()).strip(" .")
    return _shortened(plain)


def extension(name: str) -> str:
    """The last extension in lower case without its dot, empty when there is none."""
    found = _EXTENSION.search(name)
    return found[0][1:].lower() if found else ""


def for_download(name: str, mime: str, kind: str) -> str:
    """What a browser should call the file: as the sender named it, else after its kind."""
    if name:
        return name
    suffix = mimetypes.guess_extension(mime) or ".bin"
    return f"{kind or 'file'}{'.jpg' if suffix == '.jpe' else suffix}"


def _shortened(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    found = _EXTENSION.search(name)
    suffix = found[0] if found else ""
    return name[: LONGEST - len(suffix)].rstrip(" .") + suffix
