"""Acks of what we sent, and the phone's word that a customer's message was read there."""

from __future__ import annotations

from django.db import transaction

from apps.chat import rows
from apps.chat.delivery import acks
from apps.chat.evolution.events import StatusEvent
from apps.chat.inbound import changes, locks
from apps.chat.models import Ack, Conversation, Delivery, Message, WebhookEvent
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.realtime.shapes import SEND_KINDS

PARKED = "ack parked"
_SEND_OF = (
    "FROM chat_delivery WHERE message_id = %s AND kind IN (%s, %s) ORDER BY chat_delivery.id DESC LIMIT 1"
)
READ = "read"


def acknowledged(row: WebhookEvent, event: StatusEvent) -> str:
    """Raise the ack of our message; before the message is known, the ack waits for it.

    `from_me` is no help in telling whose message it is: the Business channel always says false.
    """
    if event.deleted:
        return changes.deleted(row, event.key_id)
    if event.rank is not None and not event.error:
        raised = acks.raise_plain_ack(row.instance, event.key_id, event.rank, row.received_at)
        if raised is not None:
            tell(raised)
            return "ack"
    note, message = _record(row, event)
    if note == PARKED:
        # A send may have got this id while we parked: whoever commits later finds the other.
        message = next(iter(acks.attach_parked_acks(row.instance_id, [event.key_id])), None)
        note = "ack" if message else PARKED
    if message is not None and message.direction == Message.Direction.INCOMING:
        # Stored in this moment, with our ack already taken into account.
        _withdraw_ack(message)
    elif message is not None:
        tell(message)
    return note


@transaction.atomic
def _record(row: WebhookEvent, event: StatusEvent) -> tuple[str, Message | None]:
    """What was done, and our message when its ack changed."""
    locks.hold(row.instance_id, event.key_id)
    before = Message.objects.filter(instance_id=row.instance_id, provider_id=event.key_id).first()
    if before is not None and before.direction == Message.Direction.INCOMING:
        return _read_on_phone(row, event, before), None
    after = acks.record_ack(row.instance, event.key_id, event.rank, event.error, row.received_at)
    if after is None:
        return PARKED, None
    same = before is not None and (before.ack, before.ack_error) == (after.ack, after.ack_error)
    return "ack", None if same else after


def tell(message: Message) -> None:
    """Tell the browsers how far a message came."""
    sends = rows.select(Delivery, _SEND_OF, [rows.key(Message, message.pk), *SEND_KINDS])
    update = events.status_of_message(message, sends[0][0] if sends else None)
    transaction.on_commit(lambda: publish(message.tenant_id, update), robust=True)


def _withdraw_ack(message: Message) -> None:
    """A customer's message has no ack."""
    Message.objects.filter(pk=message.pk).update(
        ack=Ack.NONE, ack_error=False, sent_at=None, delivered_at=None, seen_at=None
    )


def _read_on_phone(row: WebhookEvent, event: StatusEvent, message: Message) -> str:
    """A customer's message was read on the phone itself: it is not unread here either."""
    if event.rank is None or event.rank < Ack.SEEN:
        return "known"
    if (message.details or {}).get("history"):
        message.details = {**(message.details or {}), "history": READ}
        message.save(update_fields=["details"])
        return "read on the phone"
    listed = Conversation.objects.select_related("contact", "instance", "assigned_to")
    unsealed = listed.defer("instance__api_key", "instance__webhook_secret")
    conversation = unsealed.select_for_update(of=("self",), no_key=True).get(pk=message.conversation_id)
    if not Message.objects.filter(pk=message.pk, read_at__isnull=True).update(read_at=row.received_at):
        return "known"
    if conversation.unread_count:
        conversation.unread_count -= 1
        conversation.save(update_fields=["unread_count"])
    update = events.conversation_updated(conversation)
    transaction.on_commit(lambda: publish(conversation.tenant_id, update), robust=True)
    return "read on the phone"
