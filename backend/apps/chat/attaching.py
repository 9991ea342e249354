"""Messages with files: one message and delivery for each file, in order, all of them or none.

The words go with the first file. Sounds carry none on WhatsApp: there they go as a text of their own, before it. Each
file leaves by itself, so that trouble with the third never repeats the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.chat import actions
from apps.chat.delivery.enqueue import enqueue_delivery
from apps.chat.errors import Conflict, InvalidMessage, NotFound
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.evolution.media_sends import SILENT
from apps.chat.models import Conversation, Delivery, Message, MessageAttachment
from apps.chat.rows import insert
from apps.tenancy.models import User

MOST_FILES: Final = 30


@dataclass(frozen=True, slots=True)
class _Part:
    """One message of a request: its words, its file, and its own client_message_id."""

    content: str
    file: MessageAttachment | None
    name: str | None


def check_files(tenant_id: UUID, file_ids: Sequence[UUID]) -> list[MessageAttachment]:
    """The uploaded files with these ids, in this order.

    Raises:
        InvalidMessage: too many, one of them twice, or one that is no finished upload.
        NotFound: one does not exist or is another tenant's.
    """
    if len(file_ids) > MOST_FILES or len(set(file_ids)) < len(file_ids):
        raise InvalidMessage(f"Attach at most {MOST_FILES} files, each once.")
    rows = MessageAttachment.objects.filter(tenant_id=tenant_id).in_bulk(list(file_ids))
    if len(rows) < len(file_ids):
        raise NotFound("There is no such attachment. Upload the file again.")
    files = [rows[pk] for pk in file_ids]
    if any(row.uploaded_by_id is None or row.status != MessageAttachment.Status.COMPLETED for row in files):
        raise InvalidMessage("An attachment is not an uploaded file. Upload it first.")
    return files


def send_files(
    user: User | None,
    conversation: Conversation,
    content: str,
    file_ids: Sequence[UUID],
    client_message_id: str | None = None,
    reply_to: UUID | None = None,
) -> tuple[list[Message], bool]:
    """Accept files for delivery, with words or without; as `actions.send_message`, which see.

    Args:
        client_message_id: names the first message; the others are `<name>#2`, `<name>#3`, …

    Returns:
        the messages in their order, and whether they are new.

    Raises:
        InvalidMessage, NotFound: as `check_files`, or the words cannot be sent.
        Conflict: a file went with another message, or the name was used for something else.
    """
    if content:
        actions.check_text(content)
    files = check_files(conversation.tenant_id, file_ids)
    parts = _parts(content, files, client_message_id)
    for part in parts:
        if part.name is not None:
            actions.check_client_id(part.name)
    quoted = actions.quoted_message(conversation, reply_to) if reply_to else None
    digest = actions.digest_of(conversation, content, reply_to, file_ids) if client_message_id else ""
    try:
        with transaction.atomic():
            return [
                _write(user, conversation, part, digest, None if n else quoted)
                for n, part in enumerate(parts)
            ], True
    except IntegrityError:
        known = _same_as_before(conversation, parts, digest)
        if known is None:
            raise
        return known, False


def _parts(content: str, files: Sequence[MessageAttachment], name: str | None) -> list[_Part]:
    silent = bool(content) and files[0].kind in SILENT
    said: list[tuple[str, MessageAttachment | None]] = [(content, None)] if silent else []
    said += [("" if silent or n else content, file) for n, file in enumerate(files)]
    return [
        _Part(words, file, name and (f"{name}#{n}" if n > 1 else name))
        for n, (words, file) in enumerate(said, 1)
    ]


def _write(
    user: User | None, conversation: Conversation, part: _Part, digest: str, quoted: Message | None
) -> Message:
    """One message and its delivery; the file is claimed under its message's lock, by whoever comes first."""
    file = part.file
    kind = _kind_of(file)
    seq, now = actions.touch(conversation, part.content or f"[{kind}]")
    message = actions.outgoing(user, conversation, part.content, part.name, digest, quoted, now, kind)
    insert(message)
    if file is None:
        delivery = enqueue_delivery(message, fingerprint=fingerprint("text", text=part.content), seq=seq)
        transaction.on_commit(partial(actions.sent_off, message, delivery))
        return message
    if not MessageAttachment.objects.filter(pk=file.pk, message__isnull=True).update(message=message):
        raise Conflict("This attachment went with another message. Upload the file again.")
    file.message = message
    delivery = enqueue_delivery(
        message,
        kind=Delivery.Kind.MEDIA,
        fingerprint=fingerprint("media", mediatype=kind, caption=part.content, file_name=file.file_name),
        payload=_payload(file),
        seq=seq,
    )
    transaction.on_commit(partial(actions.sent_off, message, delivery, [file]))
    return message


def _kind_of(file: MessageAttachment | None) -> str:
    """What WhatsApp calls it: a voice message is a sound there."""
    if file is None:
        return "text"
    return "audio" if file.kind == MessageAttachment.Kind.VOICE else file.kind


def _payload(file: MessageAttachment) -> dict[str, str | int]:
    """What the sender needs: facts as they are now, so that a delivery says the same at each try."""
    return {
        "attachment": str(file.pk),
        "kind": file.kind,
        "mime_type": file.mime_type,
        "file_name": file.file_name,
        "size": file.size or 0,
        "file": file.file,
    }


def _same_as_before(conversation: Conversation, parts: Sequence[_Part], digest: str) -> list[Message] | None:
    """What the same request wrote earlier; None when it is no repetition."""
    names = [part.name for part in parts if part.name is not None]
    if not names or actions.same_as_before(conversation, names[0], digest) is None:
        return None
    rows = Message.objects.select_related("sender").filter(
        tenant_id=conversation.tenant_id, client_message_id__in=names, request_digest=digest
    )
    found = {row.client_message_id: row for row in rows}
    return [found[name] for name in names if name in found]
