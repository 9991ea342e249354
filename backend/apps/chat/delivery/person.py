"""What a person may do to a delivery: cancel, edit, release, discard, replay (T12 to T16).

Each is one conditional UPDATE on the row that the step locks, so that it either happened before the step or did not.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.chat.delivery import announce, dead_letters
from apps.chat.delivery.enqueue import enqueue_delivery, next_seq
from apps.chat.delivery.lane import OWN_SENDS
from apps.chat.delivery.passport import write
from apps.chat.delivery.stale import STILL_MAYBE
from apps.chat.delivery.wake import wake_lane
from apps.chat.errors import Conflict, NotFound
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.models import Attempt, Delivery, Message

State = Delivery.State


def _delivery(message_id: UUID, tenant_id: UUID) -> Delivery:
    row = Delivery.objects.filter(message_id=message_id, tenant_id=tenant_id, kind__in=OWN_SENDS).first()
    if row is None:
        raise NotFound("There is no such message to act on.")
    return row


def _after(delivery: Delivery) -> None:
    """Once committed: say it, and let the lane move."""
    transaction.on_commit(lambda: announce.message_changed(delivery.message_id))
    transaction.on_commit(lambda: wake_lane(delivery.conversation_id, delivery.instance_id))


def cancel(message_id: UUID, tenant_id: UUID) -> str:
    """T12, T13: stop a message before its bytes leave.

    Returns:
        "stopped": it will not go out. "stopped_maybe": it will not go out again, an earlier try may have. "pending": it
        is in a worker's hands; it ends as sent or cancelled.

    Raises:
        NotFound: no such message of this tenant.
        Conflict: it is sent, failed or cancelled already.
    """
    with transaction.atomic():
        delivery = _delivery(message_id, tenant_id)
        stopped = Delivery.objects.filter(pk=delivery.pk, state=State.QUEUED).update(
            state=State.CANCELLED,
            cancel_requested=True,
            reason="cancelled_by_person",
            fence=F("fence") + 1,
            finished_at=Now(),
        )
        asked = (
            0
            if stopped
            else Delivery.objects.filter(pk=delivery.pk, state__in=(State.SENDING, State.VERIFYING)).update(
                cancel_requested=True
            )
        )
        if not (stopped or asked):
            raise Conflict("This message can no longer be cancelled.")
        # Under the row's lock: no proof can come between the cancel and this look.
        maybe = Attempt.objects.filter(delivery=delivery, closed__isnull=True).exists()
        write(message_id, "cancelled" if stopped else "cancel_requested")
        _after(delivery)
    if asked:
        return "pending"
    return "stopped_maybe" if maybe else "stopped"


def edit(message_id: UUID, tenant_id: UUID, text: str) -> bool:
    """T14: change the text of a message that has not left; False when it has (then WhatsApp must be told)."""
    with transaction.atomic():
        delivery = _delivery(message_id, tenant_id)
        changed = Delivery.objects.filter(pk=delivery.pk, state__in=(State.QUEUED, State.HELD)).update(
            fingerprint=fingerprint("text", text=text)
        )
        if not changed:
            return False
        Message.objects.filter(pk=message_id).update(content=text, edited_at=Now())
        write(message_id, "edited_before_sending")
    return True


def change_at_whatsapp(message_id: UUID, tenant_id: UUID, text: str | None) -> Delivery:
    """Edit (with a text) or delete (None) a message that has left: a delivery of its own, at the end of the lane.

    Raises:
        NotFound: no such message of this tenant.
        Conflict: it never went out, or is deleted.
    """
    with transaction.atomic():
        sent = _delivery(message_id, tenant_id)
        if sent.state not in (State.SENDING, State.VERIFYING, State.SENT):
            raise Conflict("This message did not go out: there is nothing to change at WhatsApp.")
        message = Message.objects.get(pk=message_id)
        if message.deleted_at is not None:
            raise Conflict("This message is deleted.")
        kind = Delivery.Kind.DELETE if text is None else Delivery.Kind.EDIT
        said = (
            {"target_id": str(message_id)} if text is None else {"target_id": str(message_id), "text": text}
        )
        delivery = enqueue_delivery(
            message,
            kind=kind,
            fingerprint=fingerprint(kind.name.lower(), **said),
            payload=None if text is None else {"text": text},
        )
        write(message_id, f"{kind.name.lower()}_asked")
        transaction.on_commit(lambda: wake_lane(delivery.conversation_id, delivery.instance_id))
    return delivery


def release(message_id: UUID, tenant_id: UUID, *, send: bool) -> None:
    """T15: a person decides about a held message: send it (again), or discard it.

    Raises:
        NotFound: no such message of this tenant.
        Conflict: it is not held.
    """
    with transaction.atomic():
        delivery = _delivery(message_id, tenant_id)
        held = Delivery.objects.filter(pk=delivery.pk, state=State.HELD)
        if send:
            changed = held.update(
                state=State.QUEUED,
                maybe=STILL_MAYBE,
                cancel_requested=False,  # the later wish counts
                reason="",
                fence=F("fence") + 1,
                wake_at=Now(),
                sweep_at=Now(),
            )
        else:
            changed = held.update(
                state=State.CANCELLED,
                cancel_requested=True,
                reason="discarded_by_person",
                fence=F("fence") + 1,
                finished_at=Now(),
            )
        if not changed:
            raise Conflict("This message is not held.")
        write(message_id, "released" if send else "discarded")
        _after(delivery)


def replay(message_id: UUID, tenant_id: UUID, failure_gen: int | None = None) -> Delivery:
    """T16: send a failed message again, at the end of its lane.

    Args:
        failure_gen: the failure the person saw; a replay of another one is refused, so that pressing twice sends once.

    Raises:
        NotFound: no such message of this tenant.
        Conflict: it is not failed, or failed anew since.
    """
    with transaction.atomic():
        delivery = _delivery(message_id, tenant_id)
        wanted = delivery.failure_gen if failure_gen is None else failure_gen
        seq = next_seq(delivery.conversation_id)
        changed = Delivery.objects.filter(pk=delivery.pk, state=State.FAILED, failure_gen=wanted).update(
            state=State.QUEUED,
            seq=seq,
            tries=0,
            fence=F("fence") + 1,
            failure_gen=F("failure_gen") + 1,
            reason="",
            cancel_requested=False,
            finished_at=None,
            wake_at=Now(),
            sweep_at=Now(),
        )
        if not changed:
            raise Conflict("This message has not failed, or somebody has sent it again already.")
        Message.objects.filter(pk=message_id).update(ack_error=False)
        write(message_id, "replayed")
        transaction.on_commit(lambda: dead_letters.forget([delivery.pk]))
        _after(delivery)
    delivery.refresh_from_db()
    return delivery
