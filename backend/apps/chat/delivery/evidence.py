"""Evidence: what Evolution says about a message by itself (echo, ack, stored record), bound to attempts.

T9: evidence binds attempts, never texts. Candidates are attempts of the same instance and conversation with the same
fingerprint whose window holds WhatsApp's time; ids that are bound and records of the phone are out; open attempts come
before closed ones; exactly one, or the evidence is parked. Proof of sending needs no fence and wins in any state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final as Constant
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet, Subquery

from apps.chat import rows
from apps.chat.delivery import cold, dead_letters, gate, lane
from apps.chat.delivery.lane import Final
from apps.chat.delivery.settle import longest_settle_seconds
from apps.chat.delivery.wake import wake_rest
from apps.chat.evolution import jids
from apps.chat.evolution.events import MessageEvent
from apps.chat.evolution.fingerprint import MEDIA_KINDS, fingerprint_of_record
from apps.chat.models import Ack, Attempt, ContactJid, Conversation, Delivery, Evidence, Instance, Message
from apps.chat.rows import insert

State = Delivery.State
Closed = Attempt.Closed

# WhatsApp's times are whole seconds, and two clocks never agree: so much may a time lie outside its window.
CLOCK_MARGIN: Constant = timedelta(seconds=6)


_REACHED: Constant = ((Ack.SENT, "sent_at"), (Ack.DELIVERED, "delivered_at"), (Ack.SEEN, "seen_at"))
_RAISE: Constant = """
UPDATE chat_message SET ack = %s,
  sent_at = coalesce(sent_at, %s), delivered_at = coalesce(delivered_at, %s), seen_at = coalesce(seen_at, %s)
WHERE instance_id = %s AND provider_id = %s AND direction = 'outgoing' AND ack < %s
RETURNING id
"""


class Bound(Enum):
    """What became of a piece of evidence."""

    ATTEMPT = "attempt"
    PARKED = "parked"
    FOREIGN = "foreign"


def bind_echo(instance: Instance, conversation_ids: Sequence[UUID], event: MessageEvent) -> Bound:
    """Bind an own-send echo or a stored record to exactly one attempt.

    Args:
        conversation_ids: the instance's conversations that the event's addresses belong to.

    Returns:
        `ATTEMPT` when it is (or was) bound, `PARKED` when it might be ours but cannot be told whose, `FOREIGN` when
        no attempt of ours can have said it.
    """
    if _is_bound(instance.id, event.key_id):
        _take_ack(instance, event)
        return Bound.ATTEMPT
    if event.from_phone or not event.from_me:
        return Bound.FOREIGN
    here, elsewhere = _candidates(instance, conversation_ids, event)
    if len(here) == 1:
        return _bind(instance, here[0], event)
    if here or elsewhere:
        _park(instance, event, conversation_ids)
        return Bound.PARKED
    return Bound.FOREIGN


def telling(instance: Instance, records: Sequence[MessageEvent]) -> list[MessageEvent]:
    """The records of a findMessages answer worth `bind_echo`, in two queries: most are known, or were never ours.

    One that is bound already counts when it brings an ack that no webhook brought.
    """
    ours = [record for record in records if record.from_me and not record.from_phone]
    of_instance = Attempt.objects.filter(instance=instance)
    bound = {
        known: (ack, error)
        for known, ack, error in of_instance.filter(
            provider_id__in={record.key_id for record in records}
        ).values_list("provider_id", "delivery__message__ack", "delivery__message__ack_error")
    }
    prints = {record.key_id: fingerprint_of_record(record) for record in ours if record.key_id not in bound}
    unbound = of_instance.filter(provider_id__isnull=True, fingerprint__in=set(prints.values()))
    said = set(unbound.values_list("fingerprint", flat=True))
    return [
        record
        for record in records
        if (record.key_id in bound and _tells_more(record, *bound[record.key_id]))
        or prints.get(record.key_id) in said
    ]


def _tells_more(record: MessageEvent, ack: int, error: bool) -> bool:
    return (record.status or 0) > ack or (record.error and not error)


def _is_bound(instance_id: UUID, provider_id: str) -> bool:
    return Attempt.objects.filter(instance_id=instance_id, provider_id=provider_id).exists()


def _window(event: MessageEvent) -> tuple[datetime, datetime]:
    """The step times an attempt may have had to be what this event tells of: T9's window, seen from the other end."""
    at = datetime.fromtimestamp(event.timestamp, UTC) if event.timestamp else datetime.now(UTC)
    reach = timedelta(seconds=longest_settle_seconds(is_file=event.kind in MEDIA_KINDS))
    return at - reach - CLOCK_MARGIN, at + CLOCK_MARGIN


def _candidates(
    instance: Instance, conversation_ids: Sequence[UUID], event: MessageEvent
) -> tuple[list[Attempt], bool]:
    """Attempts this may be, best kind only; and whether one in an unknown place might be it (a LID not yet known)."""
    since, until = _window(event)
    fitting = Attempt.objects.filter(
        Q(closed__isnull=True) | Q(closed=Closed.NOT_SENT),
        instance=instance,
        provider_id__isnull=True,
        fingerprint=fingerprint_of_record(event),
        step_at__range=(since, until),
    )
    found = list(fitting.filter(conversation_id__in=conversation_ids).order_by("id"))
    still_open = [attempt for attempt in found if attempt.closed is None]
    unknown_place = not conversation_ids and jids.is_lid(event.remote_jid)
    return still_open or found, unknown_place and fitting.exists()


def _bind(instance: Instance, attempt: Attempt, event: MessageEvent) -> Bound:
    delivery = Delivery.objects.get(pk=attempt.delivery_id)
    done = lane.finalize(
        [
            Final(
                id=delivery.id,
                n=attempt.n,
                fence=delivery.fence,
                state=State.SENT,
                message=delivery.message_id if delivery.kind in lane.OWN_SENDS else None,
                prov=event.key_id,
                closed=Closed.ACCEPTED,
                bytes_left=True,
                bound_by=Attempt.BoundBy.MATCH,
            )
        ]
    )
    dead_letters.follow(done)
    _take_ack(instance, event)
    attach_parked_acks(instance.id, [event.key_id])
    wake_rest(delivery.conversation_id, delivery.instance_id)
    return Bound.ATTEMPT


def _take_ack(instance: Instance, event: MessageEvent) -> None:
    if event.status or event.error:
        record_ack(instance, event.key_id, event.status, event.error, None)


def _park(instance: Instance, event: MessageEvent, conversation_ids: Sequence[UUID]) -> None:
    at = datetime.fromtimestamp(event.timestamp, UTC) if event.timestamp else None
    Evidence.objects.update_or_create(
        instance=instance,
        provider_id=event.key_id,
        defaults={
            "remote_jid": event.remote_jid,
            "conversation_id": conversation_ids[0] if conversation_ids else None,
            "fingerprint": fingerprint_of_record(event),
            "origin": Evidence.Origin.PHONE if event.from_phone else Evidence.Origin.API,
            "provider_time": at,
        },
    )


# --- acks -----------------------------------------------------------------------------------------


def record_ack(
    instance: Instance, provider_id: str, rank: int | None, error: bool, at: datetime | None
) -> Message | None:
    """Raise a message's ack; it never falls. Unknown ids are parked until a message has them.

    Returns:
        The message as it is now, or None when no message has this id yet.
    """
    if rank is not None and rank >= Ack.SENT:
        gate.heard(instance)
    message = _raise_ack(instance.id, provider_id, rank or 0, error, at)
    if message is not None:
        return message
    _park_ack(instance.id, provider_id, rank or 0, error)
    # Whoever bound the id meanwhile looked for parked acks before ours was committed: look once more.
    attach_parked_acks(instance.id, [provider_id])
    return _told_of(instance.id, provider_id).first()


def raise_plain_ack(instance: Instance, provider_id: str, rank: int, at: datetime) -> Message | None:
    """`record_ack` for by far the most acks: a message of ours that has its id and came further, in two statements.

    Returns:
        The message as it is now; None when there is none that this raises, which says nothing more.
    """
    when = connection.ops.adapt_datetimefield_value(at)
    times = [when if rank >= reached else None for reached, _ in _REACHED]
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [rank, *times, rows.key(Instance, instance.pk), provider_id, rank])
        raised = cursor.fetchall()
    if not raised:
        return None
    if rank >= Ack.SENT:
        gate.heard(instance)
    return rows.select(Message, "FROM chat_message WHERE chat_message.id = %s", [raised[0][0]])[0][0]


def _told_of(instance_id: UUID, provider_id: str) -> QuerySet[Message]:
    """The message that an id stands for: its own, or that of any attempt to send it."""
    own = Message.objects.filter(instance_id=instance_id, provider_id=provider_id)
    if own.exists():
        return own
    attempts = Attempt.objects.filter(instance_id=instance_id, provider_id=provider_id)
    sends = attempts.filter(delivery__kind__in=(Delivery.Kind.TEXT, Delivery.Kind.MEDIA))
    return Message.objects.filter(pk__in=sends.values("delivery__message_id"))


def _raise_ack(
    instance_id: UUID, provider_id: str, rank: int, error: bool, at: datetime | None
) -> Message | None:
    with transaction.atomic():
        if error:  # the delivery before its message, as a finalize locks them
            _lock_delivery_of(instance_id, provider_id)
        message = _told_of(instance_id, provider_id).select_for_update(no_key=True).first()
        if message is None:
            return None
        changed = _apply_ack(message, rank, at or datetime.now(UTC))
        if changed:
            message.save(update_fields=[*changed])
        if error:
            _reject(message, provider_id)
    return message


def _lock_delivery_of(instance_id: UUID, provider_id: str) -> None:
    attempts = Attempt.objects.filter(instance_id=instance_id, provider_id=provider_id)
    owner = attempts.values("delivery_id")[:1]
    Delivery.objects.select_for_update(no_key=True).filter(pk=Subquery(owner)).first()


def _apply_ack(message: Message, rank: int, at: datetime) -> list[str]:
    if rank <= message.ack:
        return []
    message.ack = rank
    changed = ["ack"]
    for reached, field in _REACHED:
        if rank >= reached and getattr(message, field) is None:
            setattr(message, field, at)
            changed.append(field)
    return changed


def _reject(message: Message, provider_id: str) -> None:
    """T17: WhatsApp refused what Evolution had accepted. Failed, unless another attempt of it got through."""
    attempt = Attempt.objects.filter(instance_id=message.instance_id, provider_id=provider_id).first()
    if attempt is None or message.ack >= Ack.DELIVERED:
        return
    if attempt.closed != Closed.ERROR:  # told again, it is still one rejection
        transaction.on_commit(lambda: cold.rejected(message.instance_id, message.conversation_id))
    Attempt.objects.filter(pk=attempt.pk).update(closed=Closed.ERROR, reason="rejected_by_whatsapp")
    if Attempt.objects.filter(delivery_id=attempt.delivery_id, closed=Closed.ACCEPTED).exists():
        return
    Message.objects.filter(pk=message.pk).update(ack_error=True)
    message.ack_error = True
    delivery = Delivery.objects.select_for_update(no_key=True).get(pk=attempt.delivery_id)
    if delivery.state == State.SENT and Attempt.objects.filter(delivery=delivery, closed=None).exists():
        _verify_again(delivery)  # a later try is still unclear: it decides
    elif delivery.state == State.SENT:
        Delivery.objects.filter(pk=delivery.pk).update(
            state=State.FAILED,
            reason="rejected_by_whatsapp",
            failure_gen=delivery.failure_gen + 1,
            finished_at=lane.database_now(),
        )
        transaction.on_commit(lambda: dead_letters.record([delivery.pk]))


def _park_ack(instance_id: UUID, provider_id: str, rank: int, error: bool) -> None:
    """One statement: between a look and an insert, whoever binds the id may take the row away."""
    row = Evidence(instance_id=instance_id, provider_id=provider_id, ack=rank, ack_error=error)
    insert(
        row,
        on_conflict="""(instance_id, provider_id) DO UPDATE SET
            ack = CASE WHEN excluded.ack > chat_evidence.ack THEN excluded.ack ELSE chat_evidence.ack END,
            ack_error = (excluded.ack_error OR chat_evidence.ack_error)""",
    )


def attach_parked_acks(instance_id: UUID, provider_ids: Iterable[str]) -> list[Message]:
    """Give acks that came before their message to it. Call after the commit that gave the message its id."""
    raised = []
    for row in Evidence.objects.filter(instance_id=instance_id, provider_id__in=list(provider_ids)):
        message = _raise_ack(instance_id, row.provider_id, row.ack, row.ack_error, None)
        if message is not None:
            # What rose since we read it stays: whoever raised it attaches it after the commit that did.
            Evidence.objects.filter(pk=row.pk, ack=row.ack, ack_error=row.ack_error).delete()
            raised.append(message)
    return raised


def take_parked_ack(instance: Instance, provider_id: str) -> tuple[int, bool]:
    """(rank, error) that waited for a message just stored under this id; (0, False) when none did."""
    row = Evidence.objects.filter(instance=instance, provider_id=provider_id).first()
    if row is None:
        return 0, False
    row.delete()
    return row.ack, row.ack_error


# --- clashes --------------------------------------------------------------------------------------


def settle_clash(final: Final) -> None:
    """Make room for a provider id that somebody else holds.

    The answer to a POST outranks a match by content: the weaker holder loses the id and goes back to verifying. A
    message stored as somebody else's under this id was ours after all, and is taken away.
    """
    if final.prov is None:
        return
    with transaction.atomic():
        delivery = Delivery.objects.get(pk=final.id)
        _unbind_weaker(delivery, final)
        _drop_twin(delivery, final)


def _unbind_weaker(delivery: Delivery, final: Final) -> None:
    holder = (
        Attempt.objects.select_for_update(no_key=True)
        .filter(instance_id=delivery.instance_id, provider_id=final.prov)
        .exclude(delivery_id=delivery.id, n=final.n)
        .first()
    )
    if holder is None:
        return
    if holder.bound_by == Attempt.BoundBy.ANSWER and final.bound_by == Attempt.BoundBy.MATCH:
        raise Outranked(f"provider id matched to delivery {delivery.id} is that of {holder.delivery_id}")
    if holder.bound_by == final.bound_by:
        raise ClashUnsettled(
            f"provider id of delivery {delivery.id} is bound to delivery {holder.delivery_id}"
        )
    Attempt.objects.filter(pk=holder.pk).update(provider_id=None, bound_by=None, closed=None, closed_at=None)
    other = Delivery.objects.select_for_update(no_key=True).get(pk=holder.delivery_id)
    proof = Attempt.objects.filter(delivery_id=other.pk, closed=Closed.ACCEPTED).order_by("n").last()
    Message.objects.filter(pk=other.message_id, provider_id=final.prov).update(
        provider_id=proof.provider_id if proof else None,
        ack=Ack.SUBMITTED if proof else Ack.NONE,
        sent_at=None,
    )
    if proof is not None:  # accepted by another attempt as well: still sent, and never again
        return
    _verify_again(other)


def _verify_again(delivery: Delivery) -> None:
    """What proved this row is gone: whether it went out must be found out anew."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.VERIFYING,
        fence=delivery.fence + 1,
        owner=None,
        checks=0,
        finished_at=None,
        reason="proof_withdrawn",
        wake_at=lane.database_now(),
        sweep_at=lane.database_now(),
    )


def _drop_twin(delivery: Delivery, final: Final) -> None:
    twin = (
        Message.objects.filter(instance_id=delivery.instance_id, provider_id=final.prov)
        .exclude(pk=delivery.message_id)
        .first()
    )
    if twin is None or twin.origin == Message.Origin.API:
        return
    Message.objects.filter(pk=twin.pk).delete()
    Message.objects.filter(pk=delivery.message_id, ack__lt=twin.ack).update(ack=twin.ack)


class Outranked(Exception):
    """A match by content claims an id that an answer gave to another attempt: it says nothing of its row."""


class ClashUnsettled(Exception):
    """Two attempts claim one provider id with equal right: nothing is written, a person must look."""


def conversations_of(instance: Instance, addresses: Iterable[str]) -> list[UUID]:
    """The instance's conversations that any of these JIDs belongs to."""
    keys = {jids.canonical_key(address) for address in addresses if address}
    return list(
        Conversation.objects.filter(
            instance=instance, contact__jids__tenant_id=instance.tenant_id, contact__jids__key__in=keys
        )
        .distinct()
        .values_list("id", flat=True)
    )


def has_ambiguous(delivery_id: int) -> bool:
    """Is parked evidence lying about that may be one of this delivery's open attempts?

    By what the attempts said, not by what the row says now: it may have been edited since. By every address of the
    contact, not only by the conversation it was parked under: evidence that fits two conversations is parked under one.
    """
    row = Delivery.objects.select_related("conversation").get(pk=delivery_id)
    attempts = list(Attempt.objects.filter(delivery_id=delivery_id, closed__isnull=True))
    said = {row.fingerprint, *(attempt.fingerprint for attempt in attempts)}
    since = min((attempt.step_at for attempt in attempts), default=row.created_at) - CLOCK_MARGIN
    parked = Evidence.objects.filter(
        Q(provider_time__gte=since) | Q(provider_time__isnull=True),
        instance_id=row.instance_id,
        fingerprint__in=said,
    )
    known = ContactJid.objects.filter(contact_id=row.conversation.contact_id).values_list("key", flat=True)
    keys = {*known, jids.canonical_key(row.conversation.remote_jid)}
    return any(
        found.conversation_id in (None, row.conversation_id) or jids.canonical_key(found.remote_jid) in keys
        for found in parked
    )
