"""Driver of the Redis streams in DB 3: the only place that names their keys.

| key | holds | read by |
|---|---|---|
| CHAT_STREAM_SEND_NAME | wake-ups `{message_id, conversation_id?, instance_id?}` | send workers, one group |
| CHAT_STREAM_MARK_READ_NAME | `{conversation_id, message_id}` | mark-as-read workers, the same group name |
| CHAT_STREAM_DLQ_NAME | why something was given up, metadata only | people, `chat_dead_letters` |

An entry has one field, `payload`, a JSON object (`stream_entries`, whose names are known here, too). Entries are
deleted when they are acknowledged, so a stream's length is what is waiting or in hand. MAXLEN is never used on the two
work streams: it would delete entries that nobody has processed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import redis
import redis.asyncio
from alrea_sense.redis_url import address
from django.conf import settings
from redis.exceptions import ResponseError

from apps.chat.errors import QueueAway
from apps.chat.outage import Outage
from apps.chat.redis_clients import TROUBLE, async_client, sync_client
from apps.chat.stream_entries import Entry as Entry
from apps.chat.stream_entries import Garbage as Garbage
from apps.chat.stream_entries import ReadMark as ReadMark
from apps.chat.stream_entries import WakeUp as WakeUp
from apps.chat.stream_entries import decode_read_mark as decode_read_mark
from apps.chat.stream_entries import decode_wake_up as decode_wake_up
from apps.chat.stream_entries import encode, payload_of
from apps.chat.stream_figures import figures_of

logger = logging.getLogger(__name__)
outage = Outage(logger, "Redis (streams)", address(settings.CHAT_STREAM_REDIS_URL))

FIELD = "payload"

# A consumer is removed only when nothing is pending for it and it has been silent: checked and done in one step.
_REMOVE_IDLE_CONSUMERS = """
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local row = {}
  for i = 1, #consumer, 2 do row[consumer[i]] = consumer[i + 1] end
  local named = ARGV[2] ~= '' and row['name'] == ARGV[2]
  if row['pending'] == 0 and (named or (ARGV[2] == '' and row['idle'] > tonumber(ARGV[3]))) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], row['name'])
    removed = removed + 1
  end
end
return removed
"""
# Hand entries back: a fresh entry at the end for each one we still hold, and the old one gone.
_GIVE_BACK = """
local back = 0
for i = 2, #ARGV, 2 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    redis.call('XDEL', KEYS[1], ARGV[i])
    redis.call('XADD', KEYS[1], '*', 'payload', ARGV[i + 1])
    back = back + 1
  end
end
return back
"""
# One command for many entries: four times cheaper for the client than a pipeline of XADDs, and Redis parses less.
_ADD_MANY = """
for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'payload', ARGV[i]) end
return #ARGV
"""
# Redis does nothing else meanwhile: about a millisecond.
_ADD_AT_ONCE = 500


def get_stream_redis_client() -> redis.Redis:
    """The process's shared client for the streams (DB 3)."""
    return sync_client(settings.CHAT_STREAM_REDIS_URL)


def get_async_stream_client() -> redis.asyncio.Redis:
    """The running loop's shared client for the streams (DB 3)."""
    return async_client(settings.CHAT_STREAM_REDIS_URL)


def _away(error: BaseException) -> QueueAway:
    outage.failed(error)
    return QueueAway(f"Redis streams at {address(settings.CHAT_STREAM_REDIS_URL)} do not answer")


# --- producers ------------------------------------------------------------------------------------


def _add(stream: str, payload: str) -> str:
    if not outage.worth_trying:
        raise QueueAway(
            f"Redis streams at {address(settings.CHAT_STREAM_REDIS_URL)} did not answer a moment ago"
        )
    try:
        entry_id = get_stream_redis_client().xadd(stream, {FIELD: payload})
    except TROUBLE as error:
        raise _away(error) from error
    outage.worked()
    return str(entry_id)


async def _add_async(stream: str, payload: str) -> str:
    if not outage.worth_trying:
        raise QueueAway(
            f"Redis streams at {address(settings.CHAT_STREAM_REDIS_URL)} did not answer a moment ago"
        )
    try:
        entry_id = await get_async_stream_client().xadd(stream, {FIELD: payload})
    except TROUBLE as error:
        raise _away(error) from error
    outage.worked()
    return str(entry_id)


def enqueue_send_message(
    message_id: UUID | str | None,
    conversation_id: UUID | str | None = None,
    instance_id: UUID | str | None = None,
) -> str:
    """XADD a wake-up for the message's conversation; the entry's id.

    Naming the conversation and the instance saves the worker a look-up.

    Raises:
        QueueAway: Redis does not answer. The row is safe; ring its alarm (`delivery.lane.ring`).
    """
    payload = encode(message_id=message_id, conversation_id=conversation_id, instance_id=instance_id)
    return _add(settings.CHAT_STREAM_SEND_NAME, payload)


async def enqueue_send_message_async(
    message_id: UUID | str | None,
    conversation_id: UUID | str | None = None,
    instance_id: UUID | str | None = None,
) -> str:
    """`enqueue_send_message` for coroutines."""
    payload = encode(message_id=message_id, conversation_id=conversation_id, instance_id=instance_id)
    return await _add_async(settings.CHAT_STREAM_SEND_NAME, payload)


def enqueue_mark_as_read(conversation_id: UUID | str, message_id: UUID | str) -> str:
    """XADD a read mark; the entry's id.

    Raises:
        QueueAway: Redis does not answer.
    """
    return _add(
        settings.CHAT_STREAM_MARK_READ_NAME, encode(conversation_id=conversation_id, message_id=message_id)
    )


async def enqueue_mark_as_read_async(conversation_id: UUID | str, message_id: UUID | str) -> str:
    """`enqueue_mark_as_read` for coroutines."""
    payload = encode(conversation_id=conversation_id, message_id=message_id)
    return await _add_async(settings.CHAT_STREAM_MARK_READ_NAME, payload)


def enqueue_many(wake_ups: Iterable[WakeUp]) -> int:
    """XADD many wake-ups, some hundred in one command; how many.

    Raises:
        QueueAway: Redis does not answer; some may have been added.
    """
    script, added = get_stream_redis_client().register_script(_ADD_MANY), 0
    try:
        for some in _in_parts(wake_ups):
            added += int(script(keys=[settings.CHAT_STREAM_SEND_NAME], args=some))
    except TROUBLE as error:
        raise _away(error) from error
    return added


async def enqueue_many_async(wake_ups: Iterable[WakeUp]) -> int:
    """`enqueue_many` for coroutines."""
    added = 0
    try:
        for some in _in_parts(wake_ups):
            added += int(await _script(_ADD_MANY, settings.CHAT_STREAM_SEND_NAME, *some))
    except TROUBLE as error:
        raise _away(error) from error
    return added


def _in_parts(wake_ups: Iterable[WakeUp]) -> Iterator[list[str]]:
    payloads = map(payload_of, wake_ups)
    while some := list(islice(payloads, _ADD_AT_ONCE)):
        yield some


async def push_to_dead_letter(source: str, reason: str, **metadata: str | int | float | None) -> None:
    """Record why something was given up: where it came from, why, and metadata. Never a text or a credential.

    Raises:
        QueueAway: Redis does not answer.
    """
    fields: dict[Any, Any] = {"source": source, "reason": reason}
    fields |= {name: str(value) for name, value in metadata.items() if value is not None}
    try:
        await get_async_stream_client().xadd(
            settings.CHAT_STREAM_DLQ_NAME, fields, maxlen=settings.CHAT_STREAM_DLQ_MAXLEN, approximate=True
        )
    except TROUBLE as error:
        raise _away(error) from error


# --- consumers ------------------------------------------------------------------------------------


def work_streams() -> tuple[str, str]:
    """The streams that consumers work on."""
    return settings.CHAT_STREAM_SEND_NAME, settings.CHAT_STREAM_MARK_READ_NAME


async def ensure_stream_setup() -> None:
    """Make both groups, from the first entry on, where they are missing. Safe to run at any time."""
    for stream in work_streams():
        try:
            await get_async_stream_client().xgroup_create(
                stream, settings.CHAT_STREAM_CONSUMER_GROUP, id="0", mkstream=True
            )
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def is_no_group(error: BaseException) -> bool:
    """Was the group or its stream flushed or deleted?"""
    return isinstance(error, ResponseError) and "NOGROUP" in str(error)


def _entries(rows: Iterable[Any]) -> list[Entry]:
    # Redis answers nil for entries that were deleted while pending; they are acknowledged as garbage.
    return [Entry(row[0], (row[1] or {}).get(FIELD) or "") for row in rows if row and row[0]]


async def read(
    client: redis.asyncio.Redis, stream: str, consumer: str, count: int, block_ms: int
) -> list[Entry]:
    """XREADGROUP new entries, waiting up to `block_ms` for the first."""
    answer = await client.xreadgroup(
        settings.CHAT_STREAM_CONSUMER_GROUP, consumer, {stream: ">"}, count=count, block=block_ms
    )
    if not answer:
        return []
    rows = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    if rows and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], (list, tuple)):
        rows = rows[0]
    return _entries(rows)


async def reclaim(stream: str, consumer: str, count: int) -> list[Entry]:
    """XAUTOCLAIM entries that nobody moved for CHAT_STREAM_RECLAIM_IDLE_MS; scans all that is pending."""
    found: list[Entry] = []
    cursor: str = "0-0"
    while len(found) < count:
        answer = await get_async_stream_client().xautoclaim(
            stream,
            settings.CHAT_STREAM_CONSUMER_GROUP,
            consumer,
            min_idle_time=settings.CHAT_STREAM_RECLAIM_IDLE_MS,
            start_id=cursor,
            count=min(count, 256),
        )
        cursor = str(answer[0])
        found += _entries(answer[1])
        if cursor == "0-0":
            break
    return found


async def deliveries_of(stream: str, entry_id: str) -> int:
    """How often an entry was handed to a consumer."""
    rows = await get_async_stream_client().xpending_range(
        stream, settings.CHAT_STREAM_CONSUMER_GROUP, entry_id, entry_id, 1
    )
    return int(rows[0]["times_delivered"]) if rows else 0


async def acknowledge(stream: str, entry_ids: Sequence[str]) -> None:
    """XACK and XDEL: done, and gone from the stream."""
    if not entry_ids:
        return
    pipe = get_async_stream_client().pipeline(transaction=False)
    pipe.xack(stream, settings.CHAT_STREAM_CONSUMER_GROUP, *entry_ids)
    pipe.xdel(stream, *entry_ids)
    await pipe.execute()


async def give_back(stream: str, entries: Sequence[Entry]) -> None:
    """Put entries we hold at the end of the stream again, for others to read at once."""
    if not entries:
        return
    arguments = [part for entry in entries for part in (entry.id, entry.payload)]
    await _script(_GIVE_BACK, stream, settings.CHAT_STREAM_CONSUMER_GROUP, *arguments)


async def remove_consumer(stream: str, consumer: str) -> bool:
    """Take our consumer out of the group, unless entries are still pending for it."""
    return bool(
        await _script(_REMOVE_IDLE_CONSUMERS, stream, settings.CHAT_STREAM_CONSUMER_GROUP, consumer, 0)
    )


async def remove_idle_consumers(stream: str, idle_ms: int) -> int:
    """Take out consumers that have nothing pending and were silent for `idle_ms`; how many."""
    return int(
        await _script(_REMOVE_IDLE_CONSUMERS, stream, settings.CHAT_STREAM_CONSUMER_GROUP, "", idle_ms)
    )


async def _script(text: str, stream: str, *arguments: str | int) -> Any:
    return await get_async_stream_client().register_script(text)(keys=[stream], args=list(arguments))


# --- figures --------------------------------------------------------------------------------------


def get_stream_metrics() -> dict[str, Any]:
    """What is in the streams: per stream name, length, pending, lag, consumers, oldest entry's age and groups.

    One round trip, of commands whose cost does not grow with the streams.

    Raises:
        QueueAway: Redis does not answer.
    """
    names = {
        "send_message_stream": settings.CHAT_STREAM_SEND_NAME,
        "mark_as_read_stream": settings.CHAT_STREAM_MARK_READ_NAME,
        "dead_letter_stream": settings.CHAT_STREAM_DLQ_NAME,
    }
    try:
        told = figures_of(get_stream_redis_client(), names.values())
    except TROUBLE as error:
        raise _away(error) from error
    rows = {label: told[name] for label, name in names.items()}
    return {**rows, "total_streams_length": sum(row["length"] for row in rows.values())}
