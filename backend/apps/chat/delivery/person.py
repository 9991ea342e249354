"""What a person may do to a delivery: cancel, edit, release, discard, replay (T12 to T16).

Each is one conditional UPDATE on the row that the step locks, so that it either happened before the step or did not.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.chat.delivery import announce, dead_letters, reactions
from apps.chat.delivery.enqueue import enqueue_delivery, next_seq
from apps.chat.delivery.lane import OWN_SENDS
from apps.chat.delivery.passport import write
from apps.chat.delivery.stale import STILL_MAYBE
from apps.chat.delivery.wake import wake_lane
from apps.chat.errors import Conflict, NotFound
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.evolution.media_sends import SILENT
from apps.chat.models import Attempt, Delivery, Message, MessageReaction
from apps.tenancy.models import User

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
            fingerprint=_fingerprint_with(delivery, text)
        )
        if not changed:
            return False
        Message.objects.filter(pk=message_id).update(content=text, edited_at=Now())
        write(message_id, "edited_before_sending")
    return True


def _fingerprint_with(delivery: Delivery, text: str) -> str:
    """What the delivery says once its words are these."""
    if delivery.kind == Delivery.Kind.TEXT:
        return fingerprint("text", text=text)
    file = delivery.payload or {}
    _check_words(delivery)
    return fingerprint("media", mediatype=file["kind"], caption=text, file_name=file["file_name"])


def _check_words(delivery: Delivery) -> None:
    if delivery.kind == Delivery.Kind.MEDIA and (delivery.payload or {})["kind"] in SILENT:
        raise Conflict("A sound carries no words on WhatsApp: there is nothing to edit.")


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
        if text is not None:
            _check_words(sent)
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


def react(message_id: UUID, tenant_id: UUID, emoji: str, user: User | None = None) -> bool:
    """Put our emoji on a message (empty: take it away): shown at once, and a delivery at the end of the lane.

    An older reaction to the same message that has not left is replaced: only the last one would stay to be seen.

    Returns:
        False when the message carries just this already; nothing is sent then.

    Raises:
        NotFound: no such message of this tenant.
        Conflict: it has not reached WhatsApp, or is deleted.
    """
    with transaction.atomic():
        message = Message.objects.filter(pk=message_id, tenant_id=tenant_id).first()
        if message is None:
            raise NotFound("There is no such message to act on.")
        seq = next_seq(message.conversation_id)  # its lock lets one person react at a time
        message.refresh_from_db(fields=["deleted_at", "provider_id"])
        if message.deleted_at is not None:
            raise Conflict("This message is deleted: there is nothing to react to.")
        if not message.provider_id:
            raise Conflict("This message has not reached WhatsApp yet. React once it has.")
        shown = _our_emoji(message_id)
        if shown == emoji:
            return False
        before = _replace_queued(message_id, shown)
        delivery = enqueue_delivery(
            message,
            kind=Delivery.Kind.REACTION,
            fingerprint=fingerprint("reaction", emoji=emoji, target_id=message.provider_id),
            payload={"emoji": emoji, "before": before, **_key_of(message)},
            seq=seq,
        )
        reactions.put(message, reactions.OURS, emoji, timezone.now(), user=user)
        write(message_id, "reaction_asked" if emoji else "reaction_removal_asked")
        transaction.on_commit(lambda: reactions.tell(message))
        transaction.on_commit(lambda: wake_lane(delivery.conversation_id, delivery.instance_id))
    return True


def _our_emoji(message_id: UUID) -> str:
    ours = MessageReaction.objects.filter(message_id=message_id, author=reactions.OURS)
    return ours.values_list("emoji", flat=True).first() or ""


def _replace_queued(message_id: UUID, shown: str) -> str:
    """Cancel reactions that have not left; answers what WhatsApp showed before the first that is under way."""
    ours = Delivery.objects.filter(message_id=message_id, kind=Delivery.Kind.REACTION, live=True)
    first = ours.order_by("seq").first()
    ours.filter(state=State.QUEUED).update(
        state=State.CANCELLED,
        cancel_requested=True,
        reason="replaced_by_newer",
        fence=F("fence") + 1,
        finished_at=Now(),
    )
    return (first.payload or {}).get("before", "") if first else shown


def _key_of(message: Message) -> dict[str, str | bool]:
    """What Evolution needs beside the id to name a message."""
    incoming = message.direction == Message.Direction.INCOMING
    by = {"participant": message.author_jid} if incoming and message.author_jid else {}
    return {"from_me": not incoming, **by}


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
