"""Which secret an instance's webhooks must carry, without a query per event."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from apps.chat.models import Instance

TTL_SECONDS: Final = 5.0
# A secret that does not match may just have been changed: it is looked up again, but no more often than this.
RECHECK_SECONDS: Final = 1.0
SIZE: Final = 1024

# Compared with when there is no such instance, so that the time taken tells nothing. Nobody can know it.
_NOBODYS: Final = secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class _Known:
    secret: str
    read_at: float

    def age(self) -> float:
        return time.monotonic() - self.read_at


_cache: OrderedDict[UUID, _Known] = OrderedDict()


async def is_secret_of(instance_id: UUID, given: str) -> bool:
    """Does `given` prove that the caller is this instance? False for an instance that does not exist.

    Raises:
        DatabaseError, SecretUnreadable: it cannot be told now.
    """
    known = _cache.get(instance_id)
    if known is None or known.age() > TTL_SECONDS:
        known = await _look_up(instance_id)
    matches = _equal(known.secret, given)
    if not matches and known.age() > RECHECK_SECONDS:
        known = await _look_up(instance_id)
        matches = _equal(known.secret, given)
    return matches


def forget() -> None:
    """Empty the cache, for tests."""
    _cache.clear()


def _equal(secret: str, given: str) -> bool:
    same = hmac.compare_digest((secret or _NOBODYS).encode(), given.encode(errors="replace"))
    return same and bool(secret)


async def _look_up(instance_id: UUID) -> _Known:
    row = await Instance.objects.filter(pk=instance_id).values_list("webhook_secret", flat=True).afirst()
    known = _Known(row or "", time.monotonic())
    _cache[instance_id] = known
    _cache.move_to_end(instance_id)
    while len(_cache) > SIZE:
        _cache.popitem(last=False)
    return known
