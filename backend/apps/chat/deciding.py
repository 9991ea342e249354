"""What a person decides about a message of ours: cancel, change, send again, release or give up.

The delivery itself is moved by `delivery.person`; each verb takes what the caller may touch already (from `lookups`)
and tells the browsers after commit.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.chat.actions import check_text
from apps.chat.delivery import dead_letters, passport, person, stale
from apps.chat.errors import Conflict
from apps.chat.lookups import delivery_of, message_of
from apps.chat.models import Delivery, Instance, Message
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.realtime.shapes import SEND_KINDS


def cancel(message: Message) -> str:
    """Stop a message: "stopped", "stopped_maybe" (an earlier try may have gone out) or "pending" (in flight).

    Raises:
        Conflict: it was sent, failed or cancelled already, or is not ours.
    """
    _check_ours(message)
    return person.cancel(message.pk, message.tenant_id)


def retry(message: Message, failure_gen: int | None = None) -> Delivery:
    """Send a failed message once more, at the end of its lane.

    Args:
        failure_gen: the failure the person saw, so that pressing twice sends once.

    Raises:
        Conflict: it has not failed, or not that way any more.
    """
    _check_ours(message)
    return person.replay(message.pk, message.tenant_id, failure_gen)


def release(message: Message, *, send: bool) -> None:
    """Decide about a held message: send it although an earlier try may have gone out, or give it up.

    Raises:
        Conflict: it is not held.
    """
    _check_ours(message)
    person.release(message.pk, message.tenant_id, send=send)


def release_stale(instance: Instance, *, send: bool) -> int:
    """Send all messages that grew too old while the instance was away, each lane in its order, or discard them.

    Returns:
        how many there were; pressing twice finds none.
    """
    return stale.release_all(instance.pk, send=send)


def edit(message: Message, content: str) -> None:
    """Change the text of a message: at once while it waits, else at WhatsApp, behind what is on its way already.

    Raises:
        InvalidMessage: the text cannot be sent.
        Conflict: it never went out, or is deleted.
    """
    _check_ours(message)
    check_text(content)
    if not person.edit(message.pk, message.tenant_id, content):
        person.change_at_whatsapp(message.pk, message.tenant_id, content)
        return
    changed = message_of(message.tenant_id, message.pk)
    publish(message.tenant_id, events.message_edited(changed))


def delete(message: Message) -> str:
    """Take back a message: cancelled while it waits (answers as `cancel`), else deleted at WhatsApp ("pending").

    Raises:
        Conflict: it never went out, is deleted, or a customer wrote it.
    """
    _check_ours(message)
    delivery = delivery_of(message)
    if delivery is not None and delivery.state == Delivery.State.SENT:
        person.change_at_whatsapp(message.pk, message.tenant_id, None)
        return "pending"
    return cancel(message)


def discard(message: Message, failure_gen: int | None = None) -> None:
    """Give up a failed message: it leaves the list of dead letters and stays in the conversation.

    Raises:
        Conflict: it has not failed, or not that way any more.
    """
    _check_ours(message)
    failed = Delivery.objects.filter(message_id=message.pk, kind__in=SEND_KINDS, state=Delivery.State.FAILED)
    if failure_gen is not None:
        failed = failed.filter(failure_gen=failure_gen)
    ids = list(failed.values_list("pk", flat=True))
    with transaction.atomic():
        if not failed.update(
            state=Delivery.State.CANCELLED,
            reason="discarded_by_person",
            fence=F("fence") + 1,
            finished_at=Now(),
        ):
            raise Conflict("The message is no dead letter any more.")
        passport.write(message.pk, "discarded")
        transaction.on_commit(lambda: dead_letters.forget(ids))
        transaction.on_commit(lambda: publish(message.tenant_id, _status(message)))


def _status(message: Message) -> events.Event:
    return events.status_of_message(message, delivery_of(message))


def _check_ours(message: Message) -> None:
    if message.direction == Message.Direction.INCOMING or message.origin != Message.Origin.API:
        raise Conflict("This message was not sent from here.")
