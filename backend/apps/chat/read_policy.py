"""When a number tells customers that they were read, without a query for each message that is sent."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from apps.chat.models import Instance

Policy = Instance.ReadReceipts
_SECONDS: Final = 15.0

_known: dict[UUID, tuple[float, str]] = {}


def policy_of(instance_id: UUID) -> str:
    """The number's policy, remembered for some seconds."""
    at, policy = _known.get(instance_id, (-_SECONDS, ""))
    if time.monotonic() - at < _SECONDS:
        return policy
    found = Instance.objects.filter(pk=instance_id).values_list("read_receipts", flat=True).first()
    _known[instance_id] = time.monotonic(), found or Policy.ON_OPEN
    return _known[instance_id][1]


def forget() -> None:
    """Look policies up anew: a change made by this process counts at once, in others within seconds."""
    _known.clear()
