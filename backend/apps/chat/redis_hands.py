"""Driver of the Redis lists in DB 2, the consumers' side: what is in whose hands, and how it comes back.

Taking an item (LMOVE) puts it into its consumer's hand, a list of its own, in the same step. It leaves the hand when it
is done, put off, buried or given back; each of these acts only if the item is still there, so that a consumer that was
taken for dead and returns changes nothing. A consumer's hands are registered with a sign of life, by the server's
clock; what is in the hands of one that went silent goes back to where it was taken from, the oldest to be taken first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis.asyncio
from django.conf import settings

from apps.chat import redis_queue as lists
from apps.chat.redis_clients import async_client

_AT_ONCE: Final = 200

# Put the item into the waiting room, if it is still in this hand.
_PUT_OFF: Final = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[2], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3], ARGV[2])
return 1
"""
_GIVE_BACK: Final = """
local back = 0
for _, item in ipairs(ARGV) do
  if redis.call('LREM', KEYS[1], -1, item) == 1 then
    redis.call('RPUSH', KEYS[2], item)
    back = back + 1
  end
end
return back
"""
# A sign of life; what is due goes to the end of the list: it had its turn. Answers who was silent for too long.
_LOOK_AROUND: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[2], now, ARGV[1])
for _, item in ipairs(redis.call('ZRANGE', KEYS[3], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', KEYS[3], item)
  redis.call('LPUSH', KEYS[1], item)
end
return redis.call('ZRANGE', KEYS[2], '-inf', now - ARGV[2], 'BYSCORE')
"""
# One item out of the hand of a consumer that is still silent: to the front of the list, or to the waiting room.
_RETURN: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local seen = redis.call('ZSCORE', KEYS[4], ARGV[1])
if seen and tonumber(seen) > now - ARGV[2] then return 0 end
if redis.call('LREM', KEYS[2], 1, ARGV[3]) == 0 then return 0 end
if tonumber(ARGV[5]) > 0 then
  redis.call('ZADD', KEYS[3], now + ARGV[5], ARGV[4])
else
  redis.call('RPUSH', KEYS[1], ARGV[4])
end
return 1
"""
_REGISTER: Final = """
local clock = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'NX', clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[1])
"""
# Forget consumers that are still silent and hold nothing.
_FORGET: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local seen = redis.call('ZSCORE', KEYS[2], ARGV[1])
if seen and tonumber(seen) > now - ARGV[2] then return 0 end
if redis.call('LLEN', KEYS[1]) > 0 then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[1])
"""
# The next free turn of an instance: milliseconds to wait for it, or -1 when too many were given away.
_TURN: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
if free - now > tonumber(ARGV[2]) then return -1 end
redis.call('SET', KEYS[1], free + ARGV[1], 'PX', math.ceil(free + ARGV[1] - now) + 1)
return free - now
"""


def _client() -> redis.asyncio.Redis:
    return async_client(settings.CHAT_QUEUE_REDIS_URL)


async def _script(text: str, keys: Sequence[str], *arguments: str | int | float) -> Any:
    return await _client().register_script(text)(keys=list(keys), args=list(arguments))


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


class Hands:
    """What one consumer holds of one list. Every method raises what `redis_clients.TROUBLE` names."""

    def __init__(self, queue: str, consumer: str) -> None:
        self.queue, self.consumer = queue, consumer
        self._hand = lists.hand_key(queue, consumer)
        self._hands, self._later = lists.hands_key(queue), lists.later_key(queue)

    async def take(self, client: redis.asyncio.Redis, most: int, wait: float) -> list[str]:
        """The oldest items, at least one unless none comes within `wait` seconds; in our hand from this moment."""
        first: Any = await client.blmove(self.queue, self._hand, wait, "RIGHT", "LEFT")  # type: ignore[arg-type]
        if first is None:
            return []
        pipe = client.pipeline(transaction=False)
        for _ in range(min(most, _AT_ONCE) - 1):
            pipe.lmove(self.queue, self._hand, "RIGHT", "LEFT")
        more: list[Any] = await pipe.execute()
        return [str(first), *(str(text) for text in more if text is not None)]

    async def held(self) -> list[str]:
        """What is in our hand, the oldest first."""
        texts: Any = await _client().lrange(self._hand, 0, -1)
        return [str(text) for text in reversed(texts)]

    async def done(self, texts: Sequence[str]) -> None:
        """These need nothing more."""
        if not texts:
            return
        pipe = _client().pipeline(transaction=False)
        for text in texts:
            pipe.lrem(self._hand, -1, text)
        await pipe.execute()

    async def put_off(self, text: str, again: str, seconds: float) -> bool:
        """Out of our hand, to be taken again in so many seconds, written as `again`; false when it is not ours."""
        keys = (self._hand, self._later)
        return bool(await _script(_PUT_OFF, keys, text, again, _milliseconds(seconds)))

    async def bury(self, text: str, letter: Mapping[str, Any]) -> None:
        """Out of our hand, its letter on the dead list. The letter first: twice is better than never."""
        await bury(letter)
        await self.done([text])

    async def give_back(self, texts: Sequence[str]) -> int:
        """To where they were taken from: the first of `texts` will be the next that is taken. How many were ours."""
        if not texts:
            return 0
        return int(await _script(_GIVE_BACK, (self._hand, self.queue), *reversed(texts)))

    async def look_around(self) -> list[str]:
        """Say that we live, move on what is due, and answer which consumers have been silent for too long."""
        keys = (self.queue, self._hands, self._later)
        dead = _milliseconds(settings.CHAT_HEARTBEAT_DEAD_SECONDS)
        names: Any = await _script(_LOOK_AROUND, keys, self.consumer, dead, _AT_ONCE)
        return [str(name) for name in names if name != self.consumer]

    async def hand_of(self, consumer: str) -> list[str]:
        """What another consumer holds, the latest first: in the order in which it is to be returned."""
        texts: Any = await _client().lrange(lists.hand_key(self.queue, consumer), 0, -1)
        return [str(text) for text in texts]

    async def give_back_of(self, consumer: str, text: str, again: str, seconds: float) -> bool:
        """Return a dead consumer's item, at once or after some seconds; false if it lives or another was faster."""
        keys = (self.queue, lists.hand_key(self.queue, consumer), self._later, self._hands)
        dead = _milliseconds(settings.CHAT_HEARTBEAT_DEAD_SECONDS)
        return bool(await _script(_RETURN, keys, consumer, dead, text, again, _milliseconds(seconds)))

    async def drop_of(self, consumer: str, text: str) -> None:
        """Take an item that was buried out of a dead consumer's hand."""
        await _client().lrem(lists.hand_key(self.queue, consumer), 1, text)

    async def forget(self, consumer: str) -> None:
        """Strike a dead consumer that holds nothing any more off the register."""
        keys = (lists.hand_key(self.queue, consumer), self._hands)
        await _script(_FORGET, keys, consumer, _milliseconds(settings.CHAT_HEARTBEAT_DEAD_SECONDS))

    async def find_lost_hands(self) -> int:
        """Put hands that nobody is registered for on the register, as if just seen: a flush may have lost the register.

        A consumer that lives says so again in time; the others are taken for dead. How many there were.
        """
        prefix = lists.hand_key(self.queue, "")
        known = {str(name) for name in await _client().zrange(self._hands, 0, -1)}
        found = {str(key).removeprefix(prefix) async for key in _client().scan_iter(f"{prefix}*", count=1000)}
        for name in found - known:
            await _script(_REGISTER, [self._hands], name)
        return len(found - known)

    async def leave(self) -> None:
        """Give everything back, and off the register: nobody would look into our hand any more."""
        await self.give_back(await self.held())
        await _client().zrem(self._hands, self.consumer)


async def bury(letter: Mapping[str, Any]) -> None:
    """Record why something was given up, at the head of the dead list, which is bounded by CHAT_LIST_DEAD_MAXLEN."""
    pipe = _client().pipeline(transaction=True)
    pipe.lpush(lists.REDIS_QUEUE_DEAD, json.dumps(letter, separators=(",", ":")))
    pipe.ltrim(lists.REDIS_QUEUE_DEAD, 0, settings.CHAT_LIST_DEAD_MAXLEN - 1)
    await pipe.execute()


async def note_asked(queue: str, payload: Mapping[str, Any], *, done: bool) -> None:
    """Done: the same need not be asked for again for a while. Given up: it may be asked for again at once."""
    key = lists.asked_key(queue, payload)
    if done:
        await _client().set(key, "1", px=max(1, _milliseconds(settings.CHAT_LIST_SAME_SECONDS)))
    else:
        await _client().delete(key)


async def next_turn(queue: str, instance: str, interval: float, horizon: float) -> float | None:
    """Seconds to wait for the instance's next free turn, which is ours now; None when all within `horizon` are taken.

    Args:
        interval: seconds between two turns of one instance.
    """
    key = f"{lists.LISTS_PREFIX}pace:{lists.short_name(queue)}:{instance}"
    wait = float(await _script(_TURN, [key], _milliseconds(interval), _milliseconds(horizon)))
    return None if wait < 0 else wait / 1000


def now() -> float:
    """Seconds since 1970, for the metadata that people read; nothing is decided by it but how old an item is."""
    return round(time.time(), 3)
