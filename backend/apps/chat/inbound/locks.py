"""One message id at a time: what two webhooks say about the same message is applied one after the other.

A message and an edit of it may arrive together in two processes. Each looks for what the other has not
committed yet, and without a common lock both would miss it: the edit parked for ever, the message never
edited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from uuid import UUID

from django.db import connection

_HOLD = "SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(%s)"
_RELAX = "SELECT set_config('synchronous_commit', 'off', true)"
_TRY = """
SELECT key, pg_try_advisory_xact_lock(key), set_config('synchronous_commit', 'off', true)
FROM unnest(%s::bigint[]) AS key
"""


def hold(instance_id: UUID, provider_id: str) -> None:
    """Hold this message's id until the transaction ends. Taken before any row lock, so it cannot deadlock.

    SQLite needs nothing: its write transactions begin IMMEDIATE, one at a time.

    The transaction's commit need not reach the disk: what it writes follows from the journal, which is there, and
    the mark that the event was applied is a later, synchronous commit.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, [_number(instance_id, provider_id)])


def try_hold(names: Collection[tuple[UUID, str]]) -> set[tuple[UUID, str]]:
    """Hold those of these messages' ids that nobody else holds; never waits. As to the commit, see `hold`."""
    if connection.vendor != "postgresql":
        return set(names)
    numbers = {_number(*name): name for name in names}
    with connection.cursor() as cursor:
        cursor.execute(*((_TRY, [list(numbers)]) if numbers else (_RELAX,)))
        return {numbers[key] for key, held, _ in cursor.fetchall() if held} if numbers else set()


def _number(instance_id: UUID, provider_id: str) -> int:
    digest = hashlib.blake2b(instance_id.bytes + provider_id.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
