"""One message id at a time: what two webhooks say about the same message is applied one after the other.

A message and an edit of it may arrive together in two processes. Each looks for what the other has not
committed yet, and without a common lock both would miss it: the edit parked for ever, the message never
edited.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from django.db import connection

_HOLD = "SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(%s)"


def hold(instance_id: UUID, provider_id: str) -> None:
    """Hold this message's id until the transaction ends. Taken before any row lock, so it cannot deadlock.

    SQLite needs nothing: its write transactions begin IMMEDIATE, one at a time.

    The transaction's commit need not reach the disk: what it writes follows from the journal, which is there, and
    the mark that the event was applied is a later, synchronous commit.
    """
    if connection.vendor != "postgresql":
        return
    digest = hashlib.blake2b(instance_id.bytes + provider_id.encode(errors="replace"), digest_size=8).digest()
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, [int.from_bytes(digest, "big", signed=True)])
