"""The gate: may this instance send now? A column on its row, which every step reads.

Trouble parks the instance, whose deliveries then wait without burning a try. Evidence opens it again: a webhook
that says `open`, or a probe of `connectionState` at growing intervals. Whatever opens it wakes its lanes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from apps.chat.delivery import lane, stale
from apps.chat.evolution.client import EvolutionClient, EvolutionError, InstanceRef
from apps.chat.models import Instance

logger = logging.getLogger(__name__)
Gate = Instance.Gate

FIRST_PROBE_SECONDS = 1.0
LAST_PROBE_SECONDS = 60.0
FIRST_THROTTLE_SECONDS, LAST_THROTTLE_SECONDS = 60.0, 300.0
# After a rate-limit answer the pace stays lower for so long, and another one within it counts on.
SLOW_SECONDS = 900.0
SLOWEST = 1 / 8
THROTTLED = "rate_limited"
MUTE = "mute"


def park(instance_id: UUID, reason: str, wait: float | None = None) -> bool:
    """Close the gate and set the next probe; True when it was open. Closing a closed gate changes nothing."""
    row = Instance.objects.filter(pk=instance_id).values("gate_parks").first()
    if row is None:
        return False
    probe = max(wait or 0.0, min(FIRST_PROBE_SECONDS * 2 ** min(row["gate_parks"], 10), LAST_PROBE_SECONDS))
    closed = Instance.objects.filter(pk=instance_id, gate=Gate.OPEN).update(
        gate=Gate.PARKED,
        gate_reason=reason,
        gate_since=Now(),
        gate_parks=F("gate_parks") + 1,
        probe_at=Now() + timedelta(seconds=probe),
    )
    if closed:
        logger.warning(
            "instance parked", extra={"instance": str(instance_id), "reason": reason, "probe_in": probe}
        )
    return bool(closed)


@dataclass(frozen=True, slots=True)
class Slower:
    """How much slower an instance goes that was asked to slow down: a factor on its pace, for so many seconds."""

    factor: float
    seconds: float


def throttle(instance_id: UUID, asked: float) -> Slower | None:
    """Close the gate on a rate-limit answer: 60 s, longer each time it comes again, and a halved pace afterwards.

    Args:
        asked: seconds the answer itself asked for; never less is waited.

    Returns:
        What the pace becomes; None when the gate was closed already, for the answers to sends that were in flight
        together count once.
    """
    again = Q(throttled_at__gte=Now() - timedelta(seconds=SLOW_SECONDS + LAST_THROTTLE_SECONDS))
    with transaction.atomic():
        counted = Instance.objects.filter(pk=instance_id, gate=Gate.OPEN).update(
            throttles=Case(When(again, then=F("throttles") + 1), default=Value(1)), throttled_at=Now()
        )
        if not counted:
            return None
        times = Instance.objects.values_list("throttles", flat=True).get(pk=instance_id)
        wait = max(asked, min(FIRST_THROTTLE_SECONDS * 2 ** min(times - 1, 10), LAST_THROTTLE_SECONDS))
        park(instance_id, THROTTLED, wait)
    return Slower(factor_after(times), wait + SLOW_SECONDS)


def factor_after(throttles: int) -> float:
    """What so many rate-limit answers leave of the pace."""
    return float(max(0.5 ** min(throttles, 10), SLOWEST))


def reopen(instance_id: UUID, why: str) -> bool:
    """Open the gate and wake every lane behind it; True when it was closed.

    What waited too long while the instance was away is held for review before anything moves. An instance that only
    was asked to slow down was not away.
    """
    with transaction.atomic():
        closed = Instance.objects.select_for_update(no_key=True).filter(pk=instance_id, gate=Gate.PARKED)
        reason = closed.values_list("gate_reason", flat=True).first()
        if reason is None:
            return False
        held = [] if reason == THROTTLED else stale.hold(instance_id)
        Instance.objects.filter(pk=instance_id).update(
            gate=Gate.OPEN, gate_reason="", gate_since=None, probe_at=None
        )
        transaction.on_commit(lambda: stale.tell(held))
    lane.wake_instance(instance_id)
    logger.warning(
        "instance open again", extra={"instance": str(instance_id), "evidence": why, "held": len(held)}
    )
    return True


def proved(instance_id: UUID) -> None:
    """A send was accepted: whatever was wrong is over, and the next trouble is probed early again."""
    Instance.objects.filter(pk=instance_id, gate_parks__gt=0).update(gate_parks=0)


def connection_changed(instance_id: UUID, state: str, status_reason: int | None) -> None:
    """A webhook told of the instance's link. Only a final close parks: the others are over within seconds."""
    if state == Instance.Connection.OPEN:
        reopen(instance_id, "webhook")
    elif state in (Instance.Connection.CLOSE, "refused"):
        park(instance_id, "logged_out" if status_reason == 401 else "disconnected")


def heard(instance: Instance) -> None:
    """Something came through the number itself: if it was taken for mute, it is not (any more)."""
    if instance.gate_reason == MUTE:
        transaction.on_commit(lambda: reopen(instance.pk, "heard of"))


def probes_due(limit: int = 20) -> list[Instance]:
    """Parked instances whose probe is due, each given to one caller: its next probe is already set."""
    mine = []
    for instance in Instance.objects.filter(gate=Gate.PARKED, probe_at__lte=Now()).order_by("probe_at")[
        :limit
    ]:
        wait = min(FIRST_PROBE_SECONDS * 2 ** min(instance.gate_parks, 10), LAST_PROBE_SECONDS)
        claimed = Instance.objects.filter(
            pk=instance.pk, gate=Gate.PARKED, probe_at=instance.probe_at
        ).update(probe_at=Now() + timedelta(seconds=wait), gate_parks=F("gate_parks") + 1)
        if claimed:
            mine.append(instance)
    return mine


async def probe(client: EvolutionClient, instance: Instance) -> str | None:
    """Ask Evolution whether the instance is back; the reason to open its gate, or None to keep it closed.

    A throttled instance needs no question. A mute one calls itself open all the while: it opens by what is heard of it.
    An answer that says nothing of the state lets the next message be the probe.
    """
    if instance.gate_reason == THROTTLED:
        return "wait is over"
    if instance.gate_reason == MUTE:
        return None
    try:
        state = await client.connection_state(InstanceRef(instance.name, instance.base_url, instance.api_key))
    except EvolutionError as error:
        return "no state to be had" if error.status is not None and _tells_nothing(error) else None
    return "probe" if state in (Instance.Connection.OPEN, None) else None


def _tells_nothing(error: EvolutionError) -> bool:
    """404 for a known cause and 401 keep the gate closed; other answers do not say that sends would fail."""
    return error.reason not in ("instance_missing", "unauthorized", "forbidden", "wrong_base_url")
