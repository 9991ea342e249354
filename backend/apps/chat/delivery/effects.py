"""What an edit, a delete or a reaction that went out, or never will, changes on our side of the message."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.chat.delivery import reactions
from apps.chat.delivery.lane import Step
from apps.chat.delivery.passport import write
from apps.chat.models import Delivery, Message, MessageReaction
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.realtime.shapes import reason_text

Kind = Delivery.Kind


def apply(step: Step) -> None:
    """WhatsApp took the change: show it. Evolution's own webhook says the same; whichever comes first counts.

    A reaction was shown when it was asked for.
    """
    if step.kind == Kind.REACTION:
        write(step.message_id, "reaction_sent")
        return
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
    """The change will not be made: its message shows what it showed before, and its timeline says why."""
    write(step.message_id, f"{Kind(step.kind).name.lower()}_failed", {"reason": reason})
    if step.kind == Kind.REACTION:
        _take_back(step, reason)


@transaction.atomic
def _take_back(step: Step, reason: str) -> None:
    """Show the reaction that WhatsApp has, unless a newer one of ours, or one from the phone, stands there by now."""
    failed = Delivery.objects.get(pk=step.id)
    said = failed.payload or {}
    ours = MessageReaction.objects.filter(message_id=step.message_id, author=reactions.OURS).first()
    same = Delivery.objects.filter(message_id=step.message_id, kind=Kind.REACTION)
    undone = (Delivery.State.FAILED, Delivery.State.CANCELLED)
    newer = same.filter(seq__gt=failed.seq).exclude(state__in=undone)
    if ours is None or ours.emoji != said["emoji"] or newer.exists():
        return
    meanwhile = same.filter(seq__lt=failed.seq, state=Delivery.State.SENT, finished_at__gte=failed.created_at)
    taken = meanwhile.order_by("seq").last()
    stands = (taken.payload or {})["emoji"] if taken else said["before"]
    message = Message.objects.get(pk=step.message_id)
    if reactions.put(message, reactions.OURS, stands, timezone.now()):
        failed_one = {"emoji": said["emoji"], "reason": reason, "reason_text": reason_text(reason)}
        transaction.on_commit(lambda: _tell_failed(message, failed_one))


def _tell_failed(message: Message, failed: dict[str, Any]) -> None:
    """What the message shows again, and what was not made of it: whoever asked saw it there a moment ago."""
    rows = MessageReaction.objects.select_related("user").filter(message=message)
    publish(message.tenant_id, {**events.message_reaction_update(message, rows), "failed": failed})
