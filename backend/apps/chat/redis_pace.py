"""Driver: the pace of each instance, in DB 4: one bucket for all workers, asked by one script.

    chat:pace:{<instance>}       when the bucket will be full again, in microseconds of the server's clock
    chat:pace:{<instance>}:slow  a factor on the rate, there while WhatsApp has asked to slow down

The algorithm is GCRA (ITU-T I.371, "generic cell rate algorithm"). It needs one number per instance, which
expires by itself when it says no more than "full", so that losing it costs at most one burst.
"""

from __future__ import annotations

import logging

from alrea_sense.redis_url import address
from django.conf import settings

from apps.chat.outage import Outage
from apps.chat.redis_clients import async_client, sync_client

logger = logging.getLogger(__name__)
outage = Outage(logger, "Redis (pacing)", address(settings.CHAT_PACE_REDIS_URL))

PREFIX = "chat:pace:"

# The time is the server's: workers' clocks differ. A time too far ahead (a failover to a server with another clock, a
# lower rate before) is drawn in, or an instance would be silent until then.
_TAKE = """
local slow = tonumber(redis.call('GET', KEYS[2]) or '1')
local interval = tonumber(ARGV[1]) / slow
local burst = tonumber(ARGV[2])
if slow < 1 then burst = math.max(1, math.min(burst, math.floor(1000000 / interval))) end
local wanted = tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local reach = burst * interval
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
full = math.min(math.max(full, now), now + reach)
local granted = math.min(wanted, math.floor((now + reach - full) / interval + 0.000001))
full = math.max(full + granted * interval, now)
if granted ~= 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
end
local wait = 0
if granted < wanted then wait = math.max(math.ceil(full + interval - reach - now), 1) end
return {granted, wait, math.floor((now + reach - full) / interval)}
"""


async def take(instance: str, rate: float, burst: int, wanted: int) -> tuple[int, float, int]:
    """Ask for permits to send.

    Args:
        rate: messages a second in the long run.
        burst: how many may go at once after a quiet time.
        wanted: how many now; a negative number gives unused ones back.

    Returns:
        How many were granted; when that is fewer than wanted, the seconds until the next one is due; and how many
        are left.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    key = f"{PREFIX}{{{instance}}}"
    script = async_client(settings.CHAT_PACE_REDIS_URL).register_script(_TAKE)
    granted, wait, left = await script(keys=[key, f"{key}:slow"], args=[1e6 / rate, burst, wanted])
    return int(granted), int(wait) / 1e6, int(left)


def due_in(instance: str, rate: float, burst: int, nth: int) -> float:
    """Seconds until the bucket has a permit for the nth message from now, taking none.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    key = f"{PREFIX}{{{instance}}}"
    pipe = sync_client(settings.CHAT_PACE_REDIS_URL).pipeline(transaction=False)
    pipe.time()
    pipe.get(key)
    pipe.get(f"{key}:slow")
    (seconds, micros), full, slow = pipe.execute()
    now, factor = seconds + micros / 1e6, float(slow or 1)
    interval = 1 / (rate * factor)
    if factor < 1:
        burst = max(1, min(burst, int(1 / interval)))
    filled = min(max(float(full or 0) / 1e6, now), now + burst * interval)
    return float(max(filled + (nth - burst) * interval - now, 0.0))


async def slow_down(instance: str, factor: float, seconds: float) -> None:
    """Let the instance send at `factor` of its rate for so long.

    Raises:
        redis.RedisError, OSError: Redis does not answer.
    """
    client = async_client(settings.CHAT_PACE_REDIS_URL)
    await client.set(f"{PREFIX}{{{instance}}}:slow", factor, px=max(int(seconds * 1000), 1))
