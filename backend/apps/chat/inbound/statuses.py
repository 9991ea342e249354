"""Acks of what we sent, and the phone's word that a customer's message was read there."""

from __future__ import annotations

from django.db import transaction

from apps.chat.delivery import evidence
from apps.chat.evolution.events import StatusEvent
from apps.chat.inbound import changes, locks
from apps.chat.models import Ack, Conversation, Delivery, Message, WebhookEvent
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.realtime.shapes import SEND_KINDS

REACTION = "reaction"


def acknowledged(row: WebhookEvent, event: StatusEvent) -> str:
    """Raise the ack of our message; before the message is known, the ack waits for it.

    `from_me` is no help in telling whose message it is: the Business channel always says false.
    """
    if event.deleted:
        return changes.deleted(row, event.key_id)
    before = _find(row, event.key_id)
    if before is not None and before.direction == Message.Direction.INCOMING:
        return _read_on_phone(row, event)
    after = evidence.record_ack(row.instance, event.key_id, event.rank, event.error, row.received_at)
    if after is None:
        return "ack parked"
    if before is None or (before.ack, before.ack_error) != (after.ack, after.ack_error):
        tell(after)
    return "ack"


def tell(message: Message) -> None:
    """Tell the browsers how far a message came."""
    sends = Delivery.objects.filter(message=message, kind__in=SEND_KINDS)
    update = events.status_of_message(message, sends.order_by("-id").first())
    transaction.on_commit(lambda: publish(message.tenant_id, update), robust=True)


def _find(row: WebhookEvent, provider_id: str) -> Message | None:
    return Message.objects.filter(instance_id=row.instance_id, provider_id=provider_id).first()


@transaction.atomic
def _read_on_phone(row: WebhookEvent, event: StatusEvent) -> str:
    """A customer's message was read on the phone itself: it is not unread here either."""
    if event.rank is None or event.rank < Ack.SEEN:
        return "known"
    locks.hold(row.instance_id, event.key_id)
    seen = Message.objects.get(instance_id=row.instance_id, provider_id=event.key_id)
    listed = Conversation.objects.select_related("contact", "instance", "assigned_to")
    unsealed = listed.defer("instance__api_key", "instance__webhook_secret")
    conversation = unsealed.select_for_update(of=("self",), no_key=True).get(pk=seen.conversation_id)
    if not Message.objects.filter(pk=seen.pk, read_at__isnull=True).update(read_at=row.received_at):
        return "known"
    if conversation.unread_count and seen.kind != REACTION:
        conversation.unread_count -= 1
        conversation.save(update_fields=["unread_count"])
    update = events.conversation_updated(conversation)
    transaction.on_commit(lambda: publish(conversation.tenant_id, update), robust=True)
    return "read on the phone"
