"""What a person should look at about a tenant's WhatsApp numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from apps.chat.delivery import gate
from apps.chat.models import Instance

_WITHIN: Final = timedelta(hours=1)

_NEEDED: Final = ("name", "gate", "gate_reason", "receipt_failed_at", "receipt_reason")

_GATE_WORDS: Final = {
    gate.MUTE: "takes messages and confirms none. Restart it.",
    "logged_out": "is logged out: connect it by QR code.",
    "removed": "was removed from Evolution: connect it again, or move its conversations.",
    "unauthorized": "cannot be used: Evolution refuses its key.",
    "instance_missing": "is unknown to Evolution: connect it, which makes it anew.",
}


def instance_alerts(tenants: Collection[UUID]) -> Iterator[dict[str, Any]]:
    """Alerts about these tenants' numbers: closed gates, and read receipts that fail."""
    since = timezone.now() - _WITHIN
    troubled = Instance.objects.filter(
        ~Q(gate=Instance.Gate.OPEN) | Q(receipt_failed_at__gte=since), tenant_id__in=tenants
    )
    for row in troubled.only(*_NEEDED).order_by("name", "id"):
        if row.gate != Instance.Gate.OPEN and row.gate_reason != gate.THROTTLED:
            words = _GATE_WORDS.get(row.gate_reason, "is disconnected: what is sent waits.")
            yield _alert(row, f"instance_{row.gate_reason or 'closed'}", words)
        if row.receipt_failed_at is not None and row.receipt_failed_at >= since:
            yield _alert(
                row, "receipts_fail", f"could not tell that messages were read ({row.receipt_reason})."
            )


def _alert(row: Instance, code: str, words: str) -> dict[str, Any]:
    return {
        "queue": "instances",
        "code": code,
        "level": "error" if row.gate_reason == gate.MUTE else "warning",
        "message": f"The number {row.name} {words}",
        "instance": {"id": str(row.pk), "name": row.name},
    }
