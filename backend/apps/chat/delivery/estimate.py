"""When a waiting message leaves, roughly: from its lane, its instance's gate and pace, and what waits before it.

For people, so by the web server's clock and a typical send; a few indexed look-ups, for one message at a time.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final as Constant

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from apps.chat import redis_pace
from apps.chat.delivery import gate
from apps.chat.models import Delivery, Instance
from apps.chat.redis_clients import TROUBLE

State = Delivery.State

SEND_SECONDS: Constant = 0.5
MOST_COUNTED: Constant = 10_000


def leaves_in(delivery: Delivery, head: Delivery | None, position: int) -> int | None:
    """Seconds until a queued message leaves; None when that depends on a person or on the phone.

    Args:
        head: the first of its lane, None when it is that itself.
        position: how many of its lane leave before it.
    """
    first = head or delivery
    if first.state == State.HELD:
        return None
    instance = Instance.objects.only("gate", "gate_reason", "probe_at").get(pk=delivery.instance_id)
    if instance.gate != Instance.Gate.OPEN and instance.gate_reason != gate.THROTTLED:
        return None
    starts = max(_from_now(first.wake_at) if first.state == State.QUEUED else 0.0, _gate_opens(instance))
    return math.ceil(max(starts + position * SEND_SECONDS, _paced(delivery)))


def _gate_opens(instance: Instance) -> float:
    return 0.0 if instance.gate == Instance.Gate.OPEN else _from_now(instance.probe_at)


def _from_now(at: datetime | None) -> float:
    return max((at - timezone.now()).total_seconds(), 0.0) if at else 0.0


def _paced(delivery: Delivery) -> float:
    """Seconds until the instance's pace reaches it, older messages first. Beyond MOST_COUNTED it only gets worse."""
    rate, burst = settings.CHAT_PACE_RATE, settings.CHAT_PACE_BURST
    if rate <= 0:
        return 0.0
    waiting = Delivery.objects.filter(
        instance_id=delivery.instance_id,
        live=True,
        state=State.QUEUED,
        pk__lt=delivery.pk,
        wake_at__lte=Now(),
    )
    ahead = waiting.order_by()[:MOST_COUNTED].count()
    try:
        return redis_pace.due_in(str(delivery.instance_id), rate, burst, ahead + 1)
    except TROUBLE:
        return max(ahead + 1 - burst, 0) / rate
