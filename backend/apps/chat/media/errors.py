"""What may be wrong with a file. `reason` is a key of `apps.chat.reasons`."""

from __future__ import annotations

from typing import Final

EMPTY: Final = "media_empty"
TOO_BIG: Final = "media_too_big"
TYPE_REFUSED: Final = "media_type_refused"
KIND_MISMATCH: Final = "media_kind_mismatch"
LENGTH_MISMATCH: Final = "media_length_mismatch"
DAMAGED: Final = "media_damaged"
TOO_MANY_PIXELS: Final = "media_too_many_pixels"
ADDRESS_REFUSED: Final = "media_address_refused"
FROM_HISTORY: Final = "media_from_history"
STORAGE_AWAY: Final = "media_storage_away"


class MediaRefused(Exception):
    """The file is not taken, and another try brings the same bytes.

    `skipped` tells a file that we do not want (its type, its size) from one that is broken.
    """

    def __init__(self, reason: str, *, skipped: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.skipped = skipped


class StorageAway(Exception):
    """The storage did not take or give the file; it may later. `cause` is the class name of what it raised."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the media storage does not answer: {cause}")
        self.cause = cause
