"""Evidence: what Evolution says about a message by itself (echo, stored record), bound to attempts.

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

from django.db.models import Q

from apps.chat.delivery import dead_letters
from apps.chat.delivery.acks import attach_parked_acks, record_ack
from apps.chat.delivery.finalize import finalize
from apps.chat.delivery.lane import OWN_SENDS, Final
from apps.chat.delivery.settle import longest_settle_seconds
from apps.chat.delivery.wake import wake_rest
from apps.chat.evolution import jids
from apps.chat.evolution.events import MessageEvent
from apps.chat.evolution.fingerprint import MEDIA_KINDS, fingerprint_of_record
from apps.chat.models import Attempt, ContactJid, Conversation, Delivery, Evidence, Instance

State = Delivery.State
Closed = Attempt.Closed

# WhatsApp's times are whole seconds, and two clocks never agree: so much may a time lie outside its window.
CLOCK_MARGIN: Constant = timedelta(seconds=6)


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
    done = finalize(
        [
            Final(
                id=delivery.id,
                n=attempt.n,
                fence=delivery.fence,
                state=State.SENT,
                message=delivery.message_id if delivery.kind in OWN_SENDS else None,
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
