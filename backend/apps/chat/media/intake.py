"""An incoming message's file, as far as its webhook tells: a pending row beside the message, in its transaction."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

from django.db import transaction

from apps.chat.evolution.events import HISTORY, MessageEvent
from apps.chat.evolution.files import FileClaim, file_claim, item_of, preview_text
from apps.chat.media import errors, limits, names
from apps.chat.media.wake import wake
from apps.chat.models import Message, MessageAttachment, WebhookEvent

logger = logging.getLogger(__name__)

Status = MessageAttachment.Status
_LONGEST_URL: Final = 2000


def attach(message: Message, row: WebhookEvent, event: MessageEvent) -> list[MessageAttachment]:
    """Write the row of the message's file, if its kind has one, and have it fetched after commit.

    Call it in the transaction that stores the message, after it was inserted.
    """
    if message.kind not in limits.KINDS:
        return []
    claim = file_claim(item_of(row.body, event.key_id))
    attachment = _row(message, event, claim, row.pk)
    attachment.save(force_insert=True)
    if attachment.status == Status.PENDING:
        transaction.on_commit(partial(wake, attachment.pk, message.pk), robust=True)
    return [attachment]


def expect(
    message: Message, kind: str, *, url: str = "", mime: str = "", preview: str = ""
) -> MessageAttachment:
    """The row of a message's file; made when there is none, for a caller that knows of one."""
    found = MessageAttachment.objects.filter(message=message).order_by("position").first()
    if found is not None:
        return found
    source = _source(message.provider_id or "", "", message.direction == Message.Direction.OUTGOING, "")
    claim = FileClaim(mime_type=mime[:120], url=url or None, can_download=not url)
    made = _make(message, kind, claim, source | _where(claim, None))
    made.preview = preview
    made.save(force_insert=True)
    return made


def _row(message: Message, event: MessageEvent, claim: FileClaim, journal_id: int) -> MessageAttachment:
    source = _source(event.key_id, event.remote_jid, event.from_me, event.participant or "")
    row = _make(message, _kind(message.kind), claim, source | _where(claim, journal_id))
    if claim.size is not None and claim.size > limits.max_bytes(row.kind):
        row.status, row.reason = Status.SKIPPED, errors.TOO_BIG
    elif event.source_event == HISTORY:  # thousands at once, of which hardly any is ever looked at
        row.status, row.reason = Status.SKIPPED, errors.FROM_HISTORY
    return row


def _make(message: Message, kind: str, claim: FileClaim, source: dict[str, Any]) -> MessageAttachment:
    return MessageAttachment(
        tenant_id=message.tenant_id,
        message=message,
        kind=kind,
        mime_type=claim.mime_type,
        file_name=names.clean(claim.file_name),
        size=claim.size,
        width=claim.width,
        height=claim.height,
        duration_ms=claim.duration_ms,
        waveform=list(claim.waveform) if claim.waveform else None,
        preview=preview_text(claim.preview),
        source=source,
    )


def _source(key_id: str, remote_jid: str, from_me: bool, participant: str) -> dict[str, Any]:
    return {"id": key_id, "remote_jid": remote_jid, "from_me": from_me, "participant": participant}


def _where(claim: FileClaim, journal_id: int | None) -> dict[str, Any]:
    """Beside Evolution: the webhook itself, or an address, which is only used when WhatsApp has no file."""
    where: dict[str, Any] = {"size": claim.size}
    if claim.inline and journal_id is not None:
        where["event"] = journal_id
    if claim.url and not claim.can_download and len(claim.url) <= _LONGEST_URL:
        where["url"] = claim.url
    return where


def _kind(kind: str) -> MessageAttachment.Kind:
    return MessageAttachment.Kind(kind)
