"""The oracle: every send the simulator accepted towards WhatsApp, whatever it answered."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from .numbers import canonical_digits, local_part
from .shapes import Json


class AcceptLog:
    """Numbered from 1. Each entry is on disk (in the OS) before the send is answered."""

    def __init__(self, path: Path | None) -> None:
        self.entries: list[Json] = []
        self._n = 0
        self._file: TextIO | None = path.open("a", encoding="utf-8", buffering=1) if path else None

    def add(self, **entry: Any) -> Json:
        """Record one accepted send; returns the entry with its number `n`."""
        self._n += 1
        full = {"n": self._n, **entry}
        self.entries.append(full)
        if self._file is not None:
            self._file.write(json.dumps(full, ensure_ascii=True) + "\n")
        return full

    def find(self, instance: str | None, number: str | None, since: int, limit: int | None) -> list[Json]:
        """Entries with n > since, oldest first; `number` matches however the phone is written."""
        digits = canonical_digits(number) if number else None
        found = []
        first = self.entries[0]["n"] if self.entries else 1
        for entry in islice(self.entries, max(0, since - first + 1), None):
            if instance and entry["instance"] != instance:
                continue
            if number and entry["number"] != number and local_part(entry["jid"]) != digits:
                continue
            found.append(entry)
            if limit is not None and len(found) >= limit:
                break
        return found

    def clear(self) -> None:
        """Forget what is in memory. Numbering and the file go on."""
        self.entries.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
