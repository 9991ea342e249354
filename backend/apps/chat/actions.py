"""What a person does: start, send, read, assign, close. What they decide about messages that are stuck: `deciding`.

`check_…` validates and writes nothing; everything else writes. Each verb takes what the caller may touch
already (from `lookups`, which stay within tenants) and tells the browsers after commit. The
delivery itself is moved by `delivery`; nothing here speaks to Evolution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.chat import contacts, read_policy, tasks
from apps.chat.delivery.enqueue import enqueue_message, next_seq
from apps.chat.enrichment import asking
from apps.chat.errors import Conflict, InvalidMessage, NotFound
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.evolution.jids import canonical_key, digits_of, phone_jid
from apps.chat.inbound.previews import preview_of
from apps.chat.lookups import conversation_of
from apps.chat.models import Contact, Conversation, Delivery, Instance, Message, MessageAttachment
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.tenancy.models import Membership, Tenant, User

CLIENT_ID_LONGEST = 128

# --- sending --------------------------------------------------------------------------------------


def check_text(content: str) -> None:
    """Raise InvalidMessage unless WhatsApp can carry this text."""
    if not content.strip("\ufeff \t\r\n\v\f\u00a0\u2028\u2029") or not content.strip():
        raise InvalidMessage("The message is empty.")
    if len(content) > settings.CHAT_MAX_TEXT:
        raise InvalidMessage(f"The message is longer than {settings.CHAT_MAX_TEXT} characters.")
    check_storable(content, "The message")


def check_storable(text: str, what: str) -> None:
    """Raise InvalidMessage for characters that neither the database nor WhatsApp can hold."""
    if "\x00" in text:
        raise InvalidMessage(f"{what} contains a NUL character.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidMessage(f"{what} contains half of a character (a lone surrogate).")


def check_client_id(client_message_id: str) -> None:
    """Raise InvalidMessage unless this can name a message."""
    if not 0 < len(client_message_id) <= CLIENT_ID_LONGEST:
        raise InvalidMessage(f"client_message_id has 1 to {CLIENT_ID_LONGEST} characters.")
    check_storable(client_message_id, "client_message_id")


def send_message(
    user: User | None,
    conversation: Conversation,
    content: str,
    client_message_id: str | None = None,
    reply_to: UUID | None = None,
) -> tuple[Message, bool]:
    """Accept a text for delivery: once this returns, it will be sent or visibly fail.

    Args:
        conversation: from `lookups.conversation_to_write_in`.
        client_message_id: the caller's own name for it; the same name again answers the same message.
        reply_to: id of the message of this conversation that is quoted.

    Returns:
        the message and whether it is new. A new one's delivery is queued.

    Raises:
        InvalidMessage: the text cannot be sent; nothing was stored.
        Conflict: the name was used for something else.
    """
    check_text(content)
    if client_message_id is not None:
        check_client_id(client_message_id)
    quoted = quoted_message(conversation, reply_to) if reply_to else None
    digest = digest_of(conversation, content, reply_to) if client_message_id else ""
    try:
        message = _write(user, conversation, content, client_message_id, digest, quoted)
    except IntegrityError:
        if client_message_id is None:
            raise
        known = same_as_before(conversation, client_message_id, digest)
        if known is None:
            raise
        return known, False
    return message, True


def _write(
    user: User | None,
    conversation: Conversation,
    content: str,
    client_message_id: str | None,
    digest: str,
    quoted: Message | None,
) -> Message:
    """Message and delivery, stored together."""
    now = timezone.now()
    message = outgoing(user, conversation, content, client_message_id, digest, quoted, now)
    delivery = enqueue_message(
        message, fingerprint=fingerprint("text", text=content), **_list_entry(content, now)
    )
    _tell_if_reopened(conversation)
    transaction.on_commit(partial(sent_off, message, delivery))
    return message


def outgoing(
    user: User | None,
    conversation: Conversation,
    content: str,
    client_message_id: str | None,
    digest: str,
    quoted: Message | None,
    now: datetime,
    kind: str = "text",
) -> Message:
    """A message of ours, not yet stored."""
    return Message(
        tenant_id=conversation.tenant_id,
        conversation=conversation,
        instance_id=conversation.instance_id,
        direction=Message.Direction.OUTGOING,
        origin=Message.Origin.API,
        kind=kind,
        content=content,
        sender=user,
        reply_to=quoted,
        quoted_provider_id=(quoted.provider_id or "") if quoted else "",
        client_message_id=client_message_id,
        request_digest=digest,
        sort_at=now,
        created_at=now,
    )


def touch(conversation: Conversation, content: str) -> tuple[int, datetime]:
    """Lock the conversation and show the message in its list entry. Writing in it opens it.

    Returns:
        the message's place in the lane, and the time, taken under the lock.
    """
    seq = next_seq(conversation.pk, **_list_entry(content, timezone.now()))
    _tell_if_reopened(conversation)
    return seq, timezone.now()


def _list_entry(content: str, now: datetime) -> dict[str, object]:
    """What a message of ours changes in its conversation."""
    return {
        "status": Conversation.Status.OPEN,
        "last_message_preview": preview_of(content),
        "last_message_at": now,
    }


def _tell_if_reopened(conversation: Conversation) -> None:
    if conversation.status != Conversation.Status.OPEN:
        transaction.on_commit(partial(_tell_anew, conversation.tenant_id, conversation.pk))


def sent_off(message: Message, delivery: Delivery, files: Sequence[MessageAttachment] = ()) -> None:
    """Once a message is committed: wake its lane, tell the browsers."""
    tasks.send_message_to_evolution.delay(message.pk, message.conversation_id, message.instance_id)
    if read_policy.policy_of(message.instance_id) == read_policy.Policy.ON_REPLY:
        tasks.enqueue_mark_as_read(message.conversation_id, message.pk)
    publish(message.tenant_id, events.message_received(message, delivery, files))


def quoted_message(conversation: Conversation, message_id: UUID) -> Message:
    """The message of this conversation that is replied to. Raises InvalidMessage when there is none."""
    found = Message.objects.filter(pk=message_id, conversation_id=conversation.pk).first()
    if found is None:
        raise InvalidMessage("reply_to is not a message of this conversation.")
    return found


def digest_of(
    conversation: Conversation, content: str, reply_to: UUID | None, files: Iterable[UUID] = ()
) -> str:
    """What a request asks for, so that its repetition is told from another one under the same name."""
    asked = [str(conversation.pk), str(reply_to or ""), content, *map(str, files)]
    return hashlib.sha256("\0".join(asked).encode()).hexdigest()


def same_as_before(conversation: Conversation, client_message_id: str, digest: str) -> Message | None:
    """What the same request wrote earlier. Raises Conflict when the name was used for another one."""
    named = Message.objects.select_related("sender")
    found = named.filter(tenant_id=conversation.tenant_id, client_message_id=client_message_id).first()
    if found is not None and found.request_digest != digest:
        raise Conflict("This client_message_id was used for another message.")
    return found


# --- conversations --------------------------------------------------------------------------------


def start_conversation(
    tenant: Tenant | UUID,
    phone: str,
    instance: Instance | None = None,
) -> tuple[Conversation, bool]:
    """The tenant's conversation with a phone number, open, and whether it is new.

    Args:
        phone: a number with country code in any usual notation, or a JID of a person or group.
        instance: which of the tenant's numbers speaks; the first connected one by default.

    Raises:
        InvalidMessage: this is no number, or the tenant has none to speak from.
    """
    jid = check_phone(phone)
    tenant_id = tenant.pk if isinstance(tenant, Tenant) else tenant
    speaker = instance or _default_instance(tenant_id)
    with transaction.atomic():
        contact = contacts.find_or_create(tenant_id, [jid])
        _prefer_typed_number(contact, jid)
        found, is_new = contacts.conversation_with(speaker, contact, jid, timezone.now())
        if found.status != Conversation.Status.OPEN:
            found.status = Conversation.Status.OPEN
            found.save(update_fields=["status"])
        conversation = conversation_of(tenant_id, found.pk)
        _tell(conversation, is_new=is_new)
        asking.when_stale(conversation)
    return conversation, is_new


def check_phone(phone: str) -> str:
    """The JID of what a person typed; raises InvalidMessage with a sentence for them when it is none."""
    check_storable(phone, "The phone number")
    try:
        digits = digits_of(phone)
    except ValueError as problem:
        raise InvalidMessage(str(problem)) from None
    return phone.strip().lower() if "@" in phone else phone_jid(digits)


def _default_instance(tenant_id: UUID) -> Instance:
    rows = list(Instance.objects.filter(tenant_id=tenant_id).order_by("created_at", "id"))
    if not rows:
        raise InvalidMessage("This tenant has no WhatsApp number yet.")
    return min(rows, key=lambda row: row.connection != Instance.Connection.OPEN)


def _prefer_typed_number(contact: Contact, jid: str) -> None:
    """Show the number as the person typed it, where it is only another spelling of the one we hold."""
    digits = jid.partition("@")[0]
    known = contact.phone and canonical_key(phone_jid(contact.phone)) == canonical_key(jid)
    if known and contact.phone != digits and len(digits) > len(contact.phone):
        contact.phone = digits
        contact.save(update_fields=["phone"])


def mark_as_read(conversation: Conversation, up_to: UUID | None = None) -> Conversation:
    """Mark what the customer wrote as read, all of it or up to a message, and send the receipt.

    Raises:
        NotFound: `up_to` is not a message of this conversation.
    """
    with transaction.atomic():
        locked = Conversation.objects.select_for_update(no_key=True, of=("self",)).get(pk=conversation.pk)
        unread = Message.objects.filter(
            conversation_id=locked.pk, direction=Message.Direction.INCOMING, read_at__isnull=True
        )
        seen = unread.filter(sort_at__lte=_time_of(conversation, up_to)) if up_to else unread
        latest = seen.order_by("-sort_at", "-id").values_list("pk", flat=True).first()
        if latest is not None:
            seen.update(read_at=timezone.now())
            transaction.on_commit(partial(tasks.enqueue_mark_as_read, locked.pk, latest))
        left = unread.exclude(kind="reaction").count() if up_to else 0
        if left != locked.unread_count:
            Conversation.objects.filter(pk=locked.pk).update(unread_count=left)
        conversation.unread_count = left
        if left != locked.unread_count:
            _tell(conversation)
    return conversation


def _time_of(conversation: Conversation, message_id: UUID) -> datetime:
    found = Message.objects.filter(pk=message_id, conversation_id=conversation.pk)
    sort_at = found.values_list("sort_at", flat=True).first()
    if sort_at is None:
        raise NotFound("There is no such message in this conversation.")
    return sort_at


def check_assignee(conversation: Conversation, user_id: UUID) -> User:
    """The member of the tenant with this id; raises InvalidMessage when there is none."""
    rows = Membership.objects.select_related("user")
    found = rows.filter(tenant_id=conversation.tenant_id, user_id=user_id, user__is_active=True).first()
    if found is None:
        raise InvalidMessage("This user is not a member of the team.")
    return found.user


def assign(conversation: Conversation, user: User | None) -> Conversation:
    """Give the conversation to someone (from `check_assignee`), or to nobody; a pending one is open then."""
    conversation.assigned_to = user
    if user is not None and conversation.status == Conversation.Status.PENDING:
        conversation.status = Conversation.Status.OPEN
    return _save(conversation, "assigned_to", "status")


def close(conversation: Conversation) -> Conversation:
    """Put the conversation away; the customer's next message brings it back. What is queued goes out."""
    conversation.status = Conversation.Status.CLOSED
    return _save(conversation, "status")


def reopen(conversation: Conversation) -> Conversation:
    """Take the conversation up again."""
    conversation.status = Conversation.Status.OPEN
    return _save(conversation, "status")


def _save(conversation: Conversation, *fields: str) -> Conversation:
    with transaction.atomic():
        conversation.save(update_fields=fields)
        _tell(conversation)
    return conversation


def _tell(conversation: Conversation, *, is_new: bool = False) -> None:
    event = events.new_conversation if is_new else events.conversation_updated
    transaction.on_commit(lambda: publish(conversation.tenant_id, event(conversation)))


def _tell_anew(tenant_id: UUID, conversation_id: UUID) -> None:
    publish(tenant_id, events.conversation_updated(conversation_of(tenant_id, conversation_id)))
