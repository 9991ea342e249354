"""Driver of the dead-letter stream (CHAT_STREAM_DLQ_NAME, DB 3): what is in it, what goes in, what comes out.

An entry's fields are metadata: `source` (the stream the work came from), `reason`, and ids, counts and times. Entries
that stand for a failed delivery carry `delivery_id`; the others (garbage, read receipts given up) have no row.
The stream is a notice board, bounded by CHAT_STREAM_DLQ_MAXLEN: which deliveries have failed is told by their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from alrea_sense.redis_url import address
from django.conf import settings

from apps.chat.errors import QueueAway
from apps.chat.redis_clients import TROUBLE
from apps.chat.redis_streams import get_stream_redis_client, outage

# Reads in slices and stops once all are found: the oldest are asked for first, and lie first.
_REMOVE_DELIVERIES: Final = """
local wanted, left, removed, from = {}, #ARGV, 0, '-'
for _, id in ipairs(ARGV) do wanted[id] = true end
while left > 0 do
  local rows = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 200)
  if #rows == 0 then break end
  for _, row in ipairs(rows) do
    for i = 1, #row[2], 2 do
      if row[2][i] == 'delivery_id' and wanted[row[2][i + 1]] then
        redis.call('XDEL', KEYS[1], row[1])
        removed = removed + 1
        if wanted[row[2][i + 1]] == true then left = left - 1 end
        wanted[row[2][i + 1]] = 'seen'
      end
    end
  end
  from = '(' .. rows[#rows][1]
end
return removed
"""
_READ_AT_ONCE: Final = 1000
_REMOVE_AT_ONCE: Final = 500
_CLAIM_SUFFIX: Final = ":reconciled"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry as it is in the stream; `metadata` is everything but source and reason."""

    entry_id: str
    source: str
    reason: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def delivery_id(self) -> int | None:
        """The failed delivery it stands for; None when there is no row behind it."""
        text = self.metadata.get("delivery_id", "")
        return int(text) if text.isdecimal() else None

    @property
    def failure_gen(self) -> int | None:
        """Which failure of that delivery."""
        text = self.metadata.get("failure_gen", "")
        return int(text) if text.isdecimal() else None


def _away(error: BaseException | None = None) -> QueueAway:
    if error is not None:
        outage.failed(error)
    return QueueAway(f"Redis streams at {address(settings.CHAT_STREAM_REDIS_URL)} do not answer")


def _check() -> None:
    if not outage.worth_trying:
        raise _away()


def add(letters: Iterable[Mapping[str, str | int]]) -> int:
    """XADD entries in one round trip; how many. Beyond CHAT_STREAM_DLQ_MAXLEN the oldest go.

    Raises:
        QueueAway: Redis does not answer; some may have been added.
    """
    _check()
    pipe = get_stream_redis_client().pipeline(transaction=False)
    for fields in letters:
        known: dict[Any, Any] = dict(fields)
        pipe.xadd(
            settings.CHAT_STREAM_DLQ_NAME, known, maxlen=settings.CHAT_STREAM_DLQ_MAXLEN, approximate=True
        )
    try:
        return len(pipe.execute())
    except TROUBLE as error:
        raise _away(error) from error


def entries() -> list[DeadLetter]:
    """All entries, the oldest first.

    Raises:
        QueueAway: Redis does not answer.
    """
    _check()
    found: list[DeadLetter] = []
    start = "-"
    while rows := _slice(start):
        found += [_letter(entry_id, fields) for entry_id, fields in rows]
        start = f"({rows[-1][0]}"
    return found


def _slice(start: str) -> list[tuple[str, dict[str, str]]]:
    client = get_stream_redis_client()
    try:
        rows: Any = client.xrange(settings.CHAT_STREAM_DLQ_NAME, min=start, count=_READ_AT_ONCE)
    except TROUBLE as error:
        raise _away(error) from error
    return list(rows or [])


def _letter(entry_id: str, fields: dict[str, str]) -> DeadLetter:
    known = dict(fields)
    return DeadLetter(entry_id, known.pop("source", ""), known.pop("reason", ""), known)


def remove_deliveries(delivery_ids: Iterable[int]) -> int:
    """Take out every entry of these deliveries; how many entries.

    Raises:
        QueueAway: Redis does not answer.
    """
    _check()
    ids = sorted(set(delivery_ids))
    removed = 0
    try:
        script = get_stream_redis_client().register_script(_REMOVE_DELIVERIES)
        for start in range(0, len(ids), _REMOVE_AT_ONCE):
            some = ids[start : start + _REMOVE_AT_ONCE]
            removed += int(script(keys=[settings.CHAT_STREAM_DLQ_NAME], args=[str(one) for one in some]))
    except TROUBLE as error:
        raise _away(error) from error
    return removed


def remove_entries(entry_ids: Sequence[str]) -> int:
    """XDEL entries by their own ids; how many there were.

    Raises:
        QueueAway: Redis does not answer.
    """
    if not entry_ids:
        return 0
    _check()
    try:
        return int(get_stream_redis_client().xdel(settings.CHAT_STREAM_DLQ_NAME, *entry_ids))
    except TROUBLE as error:
        raise _away(error) from error


def claim_reconcile(seconds: float) -> bool:
    """True for one caller among all processes in this many seconds; the others need not compare.

    Raises:
        QueueAway: Redis does not answer.
    """
    _check()
    key = settings.CHAT_STREAM_DLQ_NAME + _CLAIM_SUFFIX
    try:
        return bool(get_stream_redis_client().set(key, "1", nx=True, px=max(1, round(seconds * 1000))))
    except TROUBLE as error:
        raise _away(error) from error
