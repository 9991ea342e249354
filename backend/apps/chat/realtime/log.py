"""A tenant's events in Redis (DB 1): the running number, the bounded log and the live channel.

Number, log entry and announcement happen in one Lua call, so events reach every process in the order of
their numbers, and whoever saw an announcement finds it in the log. Keys, all of one hash slot:

| key | type | holds |
|---|---|---|
| `chat:rt:{<tenant>}:seq` | string | the last number given |
| `chat:rt:{<tenant>}:log` | list | the last CHAT_REALTIME_KEEP events as JSON, oldest first |
| `chat:rt:{<tenant>}:live` | pub/sub | each event as JSON |

Numbers start at the clock's milliseconds, so that a flushed Redis never repeats one (a tenant would have to
exceed a thousand events a second for that), and stay below 2^53, which is what JSON readers can count to.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from django.conf import settings

PREFIX = "chat:rt:"
NEWEST = 2**53
MOST_READ = 5000
LOG_SECONDS = 3600
SEQ_SECONDS = 7 * 86_400

# ARGV: event without its opening brace, entries kept, life of the log, of the number, a number already seen,
# numbers to skip.
PUBLISH = """
local seq = tonumber(redis.call('GET', KEYS[1]) or '0')
local seen = tonumber(ARGV[5])
if seq == 0 then
  local t = redis.call('TIME')
  seq = t[1] * 1000 + math.floor(t[2] / 1000)
end
if seq < seen then seq = seen + 1 end
seq = seq + 1 + tonumber(ARGV[6])
local text = string.format('%.0f', seq)
redis.call('SET', KEYS[1], text, 'EX', ARGV[4])
local event = '{"seq":' .. text .. ',' .. ARGV[1]
redis.call('RPUSH', KEYS[2], event)
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[2]), -1)
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', KEYS[3], event)
return text
"""
PUBLISH_SHA = hashlib.sha1(PUBLISH.encode()).hexdigest()  # noqa: S324  (how Redis names scripts)

# Returns the present number (given on first sight, so that a client has one to resume from) and what the log
# holds after ARGV[1], or nothing when that is further back than the log can reach (ARGV[3]).
READ = """
local seq = redis.call('GET', KEYS[1])
if not seq then
  local t = redis.call('TIME')
  seq = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
  redis.call('SET', KEYS[1], seq, 'EX', ARGV[2])
end
local missing = tonumber(seq) - tonumber(ARGV[1])
if missing <= 0 or missing > tonumber(ARGV[3]) then return {seq} end
return {seq, unpack(redis.call('LRANGE', KEYS[2], -missing, -1))}
"""

_SEQ = re.compile(r'\{"seq":([0-9]+),')


def keys(tenant_id: object) -> tuple[str, str, str]:
    """The tenant's number, log and live channel."""
    base = f"{PREFIX}{{{tenant_id}}}"
    return f"{base}:seq", f"{base}:log", f"{base}:live"


def tenant_of(channel: str) -> str:
    """The tenant a live channel belongs to."""
    return channel[len(PREFIX) + 1 : channel.index("}")]


def seq_of(event: str) -> int:
    """An event's number, without parsing the event."""
    match = _SEQ.match(event)
    return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class Tail:
    """What followed a number: the present number, the events in order, and whether none is missing."""

    seq: int
    events: list[tuple[int, str]]
    complete: bool


async def read_since(redis: Any, tenant_id: str, last_seq: int) -> Tail:
    """The tenant's events after `last_seq`.

    `complete` is False when the log no longer reaches back that far, when numbers were skipped because events
    were lost, or when `last_seq` is ahead of Redis (it was flushed, or an old replica took over).
    """
    seq_key, log_key, _ = keys(tenant_id)
    reach = min(settings.CHAT_REALTIME_KEEP, MOST_READ)
    answer = await redis.eval(READ, 2, seq_key, log_key, last_seq, SEQ_SECONDS, reach)
    seq, *texts = [item.decode() if isinstance(item, bytes) else item for item in answer]
    events = [(number, text) for text in texts if (number := seq_of(text)) > last_seq]
    complete = 0 <= int(seq) - last_seq == len(events)
    return Tail(int(seq), events, complete)
