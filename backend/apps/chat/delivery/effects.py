"""What an edit or a delete that went out changes on our side of the message."""

from __future__ import annotations

from django.db.models.functions import Now

from apps.chat.delivery.lane import Step
from apps.chat.delivery.passport import write
from apps.chat.models import Delivery, Message
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

Kind = Delivery.Kind


def apply(step: Step) -> None:
    """WhatsApp took the change: show it. Evolution's own webhook says the same; whichever comes first counts."""
    message = Message.objects.filter(pk=step.message_id)
    if step.kind == Kind.EDIT:
        message.update(content=(step.payload or {})["text"], edited_at=Now())
    elif step.kind == Kind.DELETE:
        message.filter(deleted_at=None).update(deleted_at=Now())
    row = message.get()
    publish(
        step.tenant_id, events.message_edited(row) if step.kind == Kind.EDIT else events.message_deleted(row)
    )


def gave_up(step: Step, reason: str) -> None:
    """The change will not be made: its message stays as it was, and its timeline says why."""
    write(step.message_id, f"{Kind(step.kind).name.lower()}_failed", {"reason": reason})
