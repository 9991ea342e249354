"""What must hold in the rows at any time (ENGINE.md, "Rows" and T1): a breach is a defect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import Count, Exists, F, Max, OuterRef, Q
from django.db.models.functions import Now

from apps.chat.doctor.findings import Finding, ok, problem
from apps.chat.models import Attempt, Delivery

State = Delivery.State

DEPTH: Final = 20_000
SETTLE_TIMES: Final = 10
_DO: Final = "keep the rows and the logs, and report it; do not change them by hand"


def check_invariants(full: bool = False) -> Iterator[Finding]:
    """Args: full: look at all of history, not only at the latest deliveries."""
    since = 0 if full else (Delivery.objects.aggregate(newest=Max("pk"))["newest"] or 0) - DEPTH
    checks = {
        "lanes with two rows in flight": _two_in_flight(),
        "sent rows without an accepted attempt": _unproven(since),
        "finished rows with an attempt that nobody closed": _left_open(since),
    }
    for what, rows in checks.items():
        if rows:
            yield problem("invariants", f"{what}: {', '.join(rows)}", _DO)
    if not any(checks.values()):
        depth = "all deliveries" if full else f"the latest {DEPTH:,} deliveries"
        yield ok("invariants", f"they hold in {depth}")


def _two_in_flight() -> Sequence[str]:
    flying = Delivery.objects.filter(live=True, state__in=(State.SENDING, State.VERIFYING)).order_by()
    lanes = flying.values("conversation_id").annotate(rows=Count("pk")).filter(rows__gt=1)
    return [str(lane["conversation_id"]) for lane in lanes[:5]]


def _unproven(since: int) -> Sequence[str]:
    proof = Attempt.objects.filter(delivery_id=OuterRef("pk"), closed=Attempt.Closed.ACCEPTED)
    rows = Delivery.objects.filter(pk__gt=since, state=State.SENT).exclude(Exists(proof))
    return [str(pk) for pk in rows.order_by("pk").values_list("pk", flat=True)[:5]]


def _left_open(since: int) -> Sequence[str]:
    """What a person sent anyway or gave up while it was unclear stays open for good: evidence may still come."""
    old = Now() - timedelta(seconds=SETTLE_TIMES * settings.CHAT_SEND_SETTLE_SECONDS)
    unclear = Attempt.objects.filter(closed__isnull=True, step_at__lt=old, delivery_id__gt=since)
    decided = Q(delivery__maybe=True) | Q(delivery__reason="discarded_by_person")
    rows = unclear.filter(delivery__state__gte=State.SENT).exclude(decided)
    return [str(pk) for pk in rows.order_by("pk").values_list(F("delivery_id"), flat=True)[:5]]
