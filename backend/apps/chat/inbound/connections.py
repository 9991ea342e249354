"""The instance's link to WhatsApp, as Evolution tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from apps.chat.delivery import gate
from apps.chat.evolution.events import ConnectionEvent
from apps.chat.evolution.wire import long_of, mapping_of
from apps.chat.media import claims
from apps.chat.models import Instance, WebhookEvent
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

_STATES: Final = {
    "open": Instance.Connection.OPEN,
    "connecting": Instance.Connection.CONNECTING,
    "close": Instance.Connection.CLOSE,
    # The QR code was not scanned in time.
    "refused": Instance.Connection.CLOSE,
}
_LOGGED_OUT: Final = 401
_HEAL_AFTER: Final = timedelta(seconds=2)


def instance_events(body: Mapping[str, object]) -> list[ConnectionEvent]:
    """What the events beside connection.update say of the link: logged out, removed, or closed for good."""
    name = str(body.get("event") or "").lower().replace("_", ".").replace("-", ".")
    data = mapping_of(body.get("data"))
    if name == "status.instance" and data.get("status") == "closed":
        return [_closed(name, long_of(data.get("disconnectionReasonCode")))]
    if name == "logout.instance":
        return [_closed(name, _LOGGED_OUT)]
    return [_closed(name, None)] if name == "remove.instance" else []


def changed(row: WebhookEvent, event: ConnectionEvent) -> str:
    """Record the state unless a later webhook told of another, and let the gate know."""
    state = _STATES.get(event.state)
    if state is None:
        return "ignored: unknown connection state"
    before = row.instance.connection
    if not _record(row, event, state):
        return "ignored: overtaken"
    gate.connection_changed(row.instance_id, event.state, event.status_reason)
    if state == Instance.Connection.OPEN:
        # Said again after a restart of Evolution, too, of which the state before tells nothing.
        claims.due_now(row.instance_id)
    if before != state:
        _tell(row.instance_id)
    return f"connection {state}"


def _closed(name: str, reason: int | None) -> ConnectionEvent:
    return ConnectionEvent("", name, "close", reason, None)


def _record(row: WebhookEvent, event: ConnectionEvent, state: Instance.Connection) -> bool:
    """`connection_changed_at` is when we were last told, so that an older webhook cannot undo a newer one."""
    values: dict[str, object] = {"connection": state, "connection_changed_at": row.received_at}
    still_closed = state == row.instance.connection == Instance.Connection.CLOSE
    if event.source_event == "connection.update" or not still_closed:
        # The events beside it do not know the reason, and come in any order with it.
        values["connection_reason"] = (
            "" if event.status_reason in (None, 200) else str(event.status_reason)[:40]
        )
    if event.wuid and len(event.wuid) <= 128:
        values["owner_jid"] = event.wuid
    if state == Instance.Connection.OPEN:
        values |= {"qr": "", "logged_out_at": None}
        if row.instance.connection != state:
            # What was said while it was away is looked for as soon as the first webhooks are through.
            values["heal_at"] = Now() + _HEAL_AFTER
    if event.source_event == "logout.instance" or event.status_reason == _LOGGED_OUT:
        values["logged_out_at"] = row.received_at
    newest = Q(connection_changed_at__isnull=True) | Q(connection_changed_at__lte=row.received_at)
    return bool(Instance.objects.filter(newest, pk=row.instance_id).update(**values))


def _tell(instance_id: UUID) -> None:
    instance = Instance.objects.defer("api_key", "webhook_secret").get(pk=instance_id)
    event = events.instance_status_changed(
        instance_id=instance.id,
        name=instance.name,
        connection=instance.connection,
        gate=Instance.Gate(instance.gate).name.lower(),
        reason=instance.gate_reason,
    )
    publish(instance.tenant_id, event)
