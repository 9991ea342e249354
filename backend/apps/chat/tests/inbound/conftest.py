"""An instance with a known secret, captures of a real Evolution 2.3.6, and what the database says afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from apps.chat import inbound, journal, webhook_secrets
from apps.chat.evolution.events import strip_credentials
from apps.chat.inbound import passing, state
from apps.chat.models import (
    Instance,
    WebhookEvent,
)
from apps.tenancy.models import Tenant

CAPTURES = Path(__file__).parents[1] / "captures" / "webhooks"
SECRET = "secret-of-the-tests"
NOON = 1_795_291_200  # 2026-11-21, when the captures were taken

Body = dict[str, Any]


def capture(name: str) -> Body:
    """The body of one recorded webhook."""
    body: Body = json.loads((CAPTURES / f"{name}.json").read_text())["body"]
    return body


def message_body(
    key_id: str,
    text: str = "oi",
    *,
    at: int = NOON,
    jid: str = "5511990000001@s.whatsapp.net",
    event: str = "messages.upsert",
    from_me: bool = False,
    push_name: str | None = "Ana Test",
    quoted: str | None = None,
    **key: str,
) -> Body:
    """A text message as Baileys' webhook carries it; `key` adds to its key (remoteJidAlt, participant, …)."""
    return {
        "event": event,
        "instance": "lab",
        "data": {
            "key": {"id": key_id, "remoteJid": jid, "fromMe": from_me, **key},
            "pushName": push_name,
            "message": {"conversation": text},
            "messageType": "conversation",
            "messageTimestamp": at,
            "contextInfo": {"stanzaId": quoted} if quoted else None,
        },
    }


def status_body(key_id: str, status: str, *, from_me: bool = True) -> Body:
    data = {"keyId": key_id, "remoteJid": "5511990000001@s.whatsapp.net", "fromMe": from_me, "status": status}
    return {"event": "messages.update", "instance": "lab", "data": data}


def edit_body(key_id: str, text: str | None, at_ms: int) -> Body:
    edited = {"editedMessage": {"conversation": text}} if text is not None else {}
    key = {"id": key_id, "remoteJid": "5511900000000@s.whatsapp.net", "fromMe": True}
    data = {"key": key, "type": "MESSAGE_EDIT", "timestampMs": str(at_ms), **edited}
    return {"event": "messages.edited", "instance": "lab", "data": data}


def delete_body(key_id: str) -> Body:
    data = {"id": key_id, "remoteJid": "5511990000001@s.whatsapp.net", "fromMe": False}
    return {"event": "messages.delete", "instance": "lab", "data": data}


def reaction_body(
    emoji: str, at_ms: int = NOON * 1000, target: str = "A1", key_id: str = "", **message: Any
) -> Body:
    """A reaction as Baileys' webhook carries it; an empty emoji takes one back."""
    body = message_body(key_id or f"R{at_ms}{len(emoji)}", at=at_ms // 1000, **message)
    key = {"id": target, "remoteJid": "5511990000001@s.whatsapp.net", "fromMe": False}
    said = {"key": key, "text": emoji, "senderTimestampMs": str(at_ms)}
    body["data"] |= {"message": {"reactionMessage": said}, "messageType": "reactionMessage"}
    return body


def call_body(status: str, at: int = NOON, call_id: str = "CALL1", **fields: Any) -> Body:
    """One moment of a call from Ana."""
    jid = "5511990000001@s.whatsapp.net"
    date = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    said = {"chatId": jid, "from": jid, "id": call_id, "date": date, "status": status, "isVideo": False}
    return {"event": "call", "instance": "lab", "data": {**said, **fields}}


def name_body(name: str | None, jid: str = "5511990000001@s.whatsapp.net") -> Body:
    """`contacts.update` as it comes with each message."""
    return {"event": "contacts.update", "instance": "lab", "data": {"remoteJid": jid, "pushName": name}}


def history_body(*bodies: Body) -> Body:
    """Messages as history sync brings them, many in one webhook."""
    return {"event": "messages.set", "instance": "lab", "data": [body["data"] for body in bodies]}


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    return Tenant.objects.create(name="Padaria")


@pytest.fixture
def instance(tenant: Tenant) -> Instance:
    return make_instance(tenant)


def make_instance(tenant: Tenant, name: str = "lab") -> Instance:
    made = Instance.objects.create(
        tenant=tenant, name=name, base_url="http://evolution.test", api_key="key", webhook_secret=SECRET
    )
    return Instance.objects.get(pk=made.pk)


@pytest.fixture(autouse=True)
def _threads(transactional_db: None) -> Iterator[None]:
    """No thread outlives its test: the database is emptied between tests."""
    webhook_secrets.forget()
    passing.forget()
    yield
    journal.stop(10)


def journalled(instance: Instance, body: Body, received_at: datetime | None = None) -> WebhookEvent:
    """A row of the journal, as `receive` would have stored it."""
    row = WebhookEvent.objects.create(instance=instance, event=body["event"], body=strip_credentials(body))
    at = received_at or datetime.fromtimestamp(NOON + 5, UTC)
    WebhookEvent.objects.filter(pk=row.pk).update(received_at=at)
    return WebhookEvent.objects.select_related("instance").get(pk=row.pk)


@pytest.fixture
def apply(instance: Instance) -> Callable[..., str]:
    """apply(body, received_at=…): journal a body and apply it; the note."""

    def run(body: Body, received_at: datetime | None = None) -> str:
        return inbound.apply(journalled(instance, body, received_at))

    return run


def state_of(tenant: Tenant) -> dict[str, list[Any]]:
    """Everything inbound decides about the tenant's only instance; empty without one."""
    instance = Instance.objects.filter(tenant=tenant).first()
    return state.state_of(instance) if instance else {}
