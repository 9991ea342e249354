"""Messages that exist at WhatsApp: a customer's, one typed on the phone, the echo of our own send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from django.db import IntegrityError, transaction

from apps.chat import contacts
from apps.chat.delivery import acks, cold, evidence, gate
from apps.chat.enrichment import asking
from apps.chat.evolution import jids
from apps.chat.evolution.events import HISTORY, RECORD, MessageEvent
from apps.chat.inbound import changes, locks, previews, reactions, statuses, times
from apps.chat.media import intake
from apps.chat.models import Ack, Conversation, Evidence, Message, MessageAttachment, WebhookEvent
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

ID_LENGTH: Final = 128 - len(changes.PARKED_PREFIX)
RECEIVED: Final = "received"
ECHO: Final = "echo"
SHOWN: Final = ("unread_count", "status", "last_message_at", "last_message_preview")
"""What a message changes in its conversation."""


def received(row: WebhookEvent, event: MessageEvent) -> str:
    """Store a customer's message: once, whatever it is, even when its content stayed on the phone."""
    try:
        return _store(row, event, Message.Origin.CUSTOMER)
    except contacts.NoAddress:
        return "ignored: malformed: no usable address"


def own(row: WebhookEvent, event: MessageEvent) -> str:
    """Take a message from our own number: proof that one of our sends went out, or somebody else's words."""
    known = _known(row, event)
    if known is not None and known.origin != Message.Origin.API:
        # A replay must not be taken for the echo of a later send that says the same.
        acks.attach_parked_acks(row.instance_id, [event.key_id])
        return _again(row, event, known)
    if known is not None and tells_nothing(event, known):
        return ECHO
    bound = _bind(row, event)
    if bound is evidence.Bound.PARKED:
        return "echo parked"
    if bound is evidence.Bound.ATTEMPT:
        return _bound(row, event)
    try:
        note = _store(row, event, Message.Origin.PHONE if event.from_phone else Message.Origin.OTHER)
    except contacts.NoAddress:
        return "ignored: malformed: no usable address"
    # Acks that came before it waited; after our commit they find it.
    acks.attach_parked_acks(row.instance_id, [event.key_id])
    return note


def tells_nothing(event: MessageEvent, known: Message) -> bool:
    """Is this the echo of a send whose answer came first, and no ack beside?"""
    return known.origin == Message.Origin.API and not event.error and (event.status or 0) <= known.ack


def reacted(row: WebhookEvent, event: MessageEvent) -> str:
    """Put an emoji on its message. One of ours is also the proof of the send that carried it, if there was one."""
    if event.from_me and _bind(row, event) is evidence.Bound.ATTEMPT:
        return ECHO  # it was shown when it was asked for
    return reactions.reacted(row, event)


def _bind(row: WebhookEvent, event: MessageEvent) -> evidence.Bound:
    theirs = contacts.known_conversations(row.instance, addresses(event))
    return evidence.bind_echo(row.instance, theirs, event)


def addresses(event: MessageEvent) -> Sequence[str]:
    """The JIDs of whom the chat is with. In a group the alternates are the speaker's, not the chat's."""
    if jids.is_group(event.remote_jid):
        return [event.remote_jid]
    return [event.remote_jid, *event.alt_jids]


def speaker(event: MessageEvent) -> Sequence[str]:
    """The JIDs of who speaks in a group, when several are told: that is how we learn who is who."""
    if not jids.is_group(event.remote_jid) or event.from_me or not event.alt_jids or not event.participant:
        return ()
    return (event.participant, *event.alt_jids)


def words(event: MessageEvent) -> str:
    """What the thread shows; a stub such as `[image]` when a message has no words of its own."""
    said = event.text or event.caption
    return said or ("" if event.kind == "text" else f"[{event.kind}]")


def _known(row: WebhookEvent, event: MessageEvent) -> Message | None:
    return Message.objects.filter(instance_id=row.instance_id, provider_id=event.key_id).first()


def _bound(row: WebhookEvent, event: MessageEvent) -> str:
    message = _known(row, event)
    if message is not None:
        attach_late(message)
        statuses.tell(message)
    return ECHO


@transaction.atomic
def attach_late(message: Message) -> None:
    """Give a send of ours, which has its id only now, what came before it: changes and reactions."""
    if message.provider_id is None or len(message.provider_id) > ID_LENGTH:
        return
    locks.hold(message.instance_id, message.provider_id)
    changes.attach(message)
    conversation = Conversation.objects.values_list("remote_jid", flat=True).get(pk=message.conversation_id)
    reactions.attach(message, in_group=jids.is_group(conversation))


@transaction.atomic
def _store(row: WebhookEvent, event: MessageEvent, origin: Message.Origin) -> str:
    """Locks in this order, here as everywhere: message id, contact, conversation, message."""
    locks.hold(row.instance_id, event.key_id)
    incoming = origin == Message.Origin.CUSTOMER
    theirs = addresses(event)
    history = event.source_event == HISTORY
    contact = contacts.find_or_create(
        row.instance.tenant_id,
        theirs,
        name=name_of(event) if incoming else "",
        at=times.sent_time(event.timestamp, row.received_at),
    )
    _know_speaker(row, event)
    known = _known(row, event)
    if known is not None:
        return _again(row, event, known)
    message = new(row, event, origin)
    waiting = _take_parked(message, incoming)
    conversation, is_new = contacts.conversation_with(
        row.instance, contact, contacts.preferred(theirs), message.sort_at, put_away=history
    )
    conversation.contact, conversation.instance = contact, row.instance
    message.conversation = conversation
    if not _insert(message):
        return "known"
    if message.sort_at <= conversation.last_message_at:
        attach_replies(message)
    reactions.put_parked(message, waiting, in_group=jids.is_group(event.remote_jid))
    files = intake.attach(message, row, event)
    _update(conversation, message)
    if history:
        return "history"
    if incoming:
        gate.heard(row.instance)
        if cold.matters(row.instance):
            cold.customer_wrote(conversation.pk)
    _tell(conversation, message, is_new, files)
    asking.when_stale(conversation)
    return RECEIVED if incoming else "sent elsewhere"


def _know_speaker(row: WebhookEvent, event: MessageEvent) -> None:
    """Who speaks in a group under two addresses is one person, in direct chats too."""
    if theirs := speaker(event):
        at = times.sent_time(event.timestamp, row.received_at)
        contacts.find_or_create(row.instance.tenant_id, theirs, name=name_of(event), at=at)


def _again(row: WebhookEvent, event: MessageEvent, known: Message) -> str:
    """A second receipt: the earlier of two receipts counts, whichever is applied first."""
    if known.origin == Message.Origin.API:
        return "known"
    if _is_history(known) and event.source_event != HISTORY:
        _came_anew(known)
    sort_at = min(known.sort_at, times.sort_time(event.timestamp, row.received_at))
    recovered = known.recovered and _is_recovered(row, event)
    if (sort_at, recovered) != (known.sort_at, known.recovered):
        Message.objects.filter(pk=known.pk).update(sort_at=sort_at, recovered=recovered)
    return "known"


def _is_recovered(row: WebhookEvent, event: MessageEvent) -> bool:
    """Was it missed at first: told by history or by a look into Evolution's database, or by a late webhook?"""
    stored = event.source_event in (HISTORY, RECORD)
    return stored or times.is_recovered(event.timestamp, row.received_at)


def _is_history(message: Message) -> bool:
    return bool((message.details or {}).get("history"))


def _came_anew(message: Message) -> None:
    """A webhook of its own tells of what history brought: it counts as any message then."""
    conversation = Conversation.objects.select_for_update(no_key=True).get(pk=message.conversation_id)
    rest = dict(message.details or {})
    read = rest.pop("history") == statuses.READ
    message.details = rest or None
    if message.direction == Message.Direction.INCOMING and not read:
        message.read_at = None
        _count_unread(conversation, message)
        conversation.save(update_fields=["unread_count", "status"])
    message.save(update_fields=["details", "read_at"])


def new(row: WebhookEvent, event: MessageEvent, origin: Message.Origin) -> Message:
    """The message as it should be stored, but without its conversation and what waited for it."""
    incoming = origin == Message.Origin.CUSTOMER
    quoted = event.quoted_id or ""
    message = Message(
        tenant_id=row.instance.tenant_id,
        instance_id=row.instance_id,
        direction=Message.Direction.INCOMING if incoming else Message.Direction.OUTGOING,
        origin=origin,
        kind=event.kind,
        content=words(event),
        details=event.details,
        provider_id=event.key_id,
        quoted_provider_id=quoted if len(quoted) <= ID_LENGTH else "",
        recovered=_is_recovered(row, event),
        sort_at=times.sort_time(event.timestamp, row.received_at),
        created_at=row.received_at,
    )
    if jids.is_group(event.remote_jid):
        message.author_name = name_of(event)
        message.author_jid = (event.participant or "")[:128]
    if not incoming:
        _as_sent(message, event, times.sent_time(event.timestamp, row.received_at))
    if event.source_event == HISTORY:
        message.details = {**(message.details or {}), "history": True}
        message.read_at = row.received_at if incoming else None
    return message


def _as_sent(message: Message, event: MessageEvent, at: datetime) -> None:
    least = Ack.SENT if message.origin == Message.Origin.PHONE else Ack.SUBMITTED
    message.ack = max(event.status or 0, least)
    message.ack_error = event.error
    message.sent_at = at


def _take_parked(message: Message, incoming: bool) -> object:
    """Edits and deletions that came first; for a customer's message also that it was read on our phone.

    Returns:
        the reactions that waited, for `reactions.put_parked`.
    """
    change_id = f"{changes.PARKED_PREFIX}{message.provider_id}"
    reactions_id = f"{reactions.PARKED_PREFIX}{message.provider_id}"
    ids = [change_id, reactions_id, *([message.provider_id] if incoming else [])]
    rows = {
        row.provider_id: row
        for row in Evidence.objects.filter(instance_id=message.instance_id, provider_id__in=ids)
    }
    if change := changes.parked_change(rows.get(change_id)):
        changes.put(message, change)
    if message.provider_id in rows and rows[message.provider_id].ack >= Ack.SEEN:
        message.read_at = message.created_at
        if _is_history(message):
            message.details = {**(message.details or {}), "history": statuses.READ}
    if rows:
        Evidence.objects.filter(pk__in=[row.pk for row in rows.values()]).delete()
    return rows[reactions_id].record if reactions_id in rows else None


def _insert(message: Message) -> bool:
    """False when a send of ours took this id meanwhile: its answer came while we looked at the echo."""
    if message.quoted_provider_id:
        message.reply_to = _quoted(message)
    if message.direction == Message.Direction.INCOMING:
        message.save(force_insert=True)
        return True
    try:
        with transaction.atomic():
            message.save(force_insert=True)
    except IntegrityError:
        if Message.objects.filter(instance_id=message.instance_id, provider_id=message.provider_id).exists():
            return False
        raise
    return True


def _quoted(message: Message) -> Message | None:
    same = Message.objects.filter(instance_id=message.instance_id, provider_id=message.quoted_provider_id)
    return same.filter(conversation_id=message.conversation_id).first()


def attach_replies(message: Message) -> None:
    """Replies stored before what they answer. They stand after it."""
    Message.objects.filter(
        conversation_id=message.conversation_id,
        sort_at__gte=message.sort_at,
        quoted_provider_id=message.provider_id,
        reply_to__isnull=True,
    ).update(reply_to=message)


def _update(conversation: Conversation, message: Message) -> None:
    """Count and show the message. The conversation's row is locked."""
    latest = count_and_lead(conversation, message)
    conversation.save(update_fields=SHOWN)
    if not latest:
        previews.preview_again(conversation)


def count_and_lead(conversation: Conversation, message: Message) -> bool:
    """`SHOWN` in memory; False when a later message leads the conversation.

    A message that was recovered late is as unread as any other: nobody saw it.
    """
    if message.direction == Message.Direction.INCOMING and not _is_history(message):
        _count_unread(conversation, message)
    if message.sort_at < conversation.last_message_at:
        return False
    conversation.last_message_at = message.sort_at
    conversation.last_message_preview = previews.preview_of(message.content)
    return True


def _count_unread(conversation: Conversation, message: Message) -> None:
    if message.read_at is None:
        conversation.unread_count += 1
    if conversation.status == Conversation.Status.CLOSED:
        taken = conversation.assigned_to_id is not None
        conversation.status = Conversation.Status.OPEN if taken else Conversation.Status.PENDING


def _tell(
    conversation: Conversation, message: Message, is_new: bool, files: Sequence[MessageAttachment]
) -> None:
    """Tell the browsers after commit; the entry in the list first, so that they know where the message belongs."""
    entry = events.new_conversation if is_new else events.conversation_updated
    for event in (entry(conversation), events.message_received(message, None, files)):
        transaction.on_commit(partial(publish, message.tenant_id, event), robust=True)


def name_of(event: MessageEvent) -> str:
    """What its author is called; empty says nothing."""
    return (event.push_name or "")[:200]
