"""Finding what a caller names, within the tenants they belong to: another tenant's is not found."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from apps.chat import rows
from apps.chat.errors import NotFound
from apps.chat.models import Conversation, Delivery, Message
from apps.chat.realtime.shapes import SEND_KINDS

# Credentials are sealed: whoever only shows an instance does not open them.
INSTANCE_SECRETS = ("instance__api_key", "instance__webhook_secret")

Tenants = UUID | str | Collection[UUID]


# --- looking things up, within tenants ------------------------------------------------------------


def _within(tenants: Tenants) -> Collection[UUID | str]:
    return [tenants] if isinstance(tenants, UUID | str) else tenants


def conversation_of(tenants: Tenants, conversation_id: UUID) -> Conversation:
    """The conversation, with contact, instance and assignee loaded.

    Raises:
        NotFound: it does not exist or belongs to another tenant.
    """
    whole = Conversation.objects.select_related("contact", "instance", "assigned_to").defer(*INSTANCE_SECRETS)
    found = whole.filter(pk=conversation_id, tenant_id__in=_within(tenants)).first()
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def conversation_to_write_in(tenants: Tenants, conversation_id: UUID) -> Conversation:
    """As `conversation_of`, with nothing loaded beside it: all that sending needs, at a third of the price.

    Raises:
        NotFound: it does not exist or belongs to another tenant.
    """
    rest = "FROM chat_conversation WHERE chat_conversation.id = %s"
    found = rows.select(Conversation, rest, [rows.key(Conversation, conversation_id)])
    conversation = found[0][0] if found else None
    if conversation is None or str(conversation.tenant_id) not in {str(pk) for pk in _within(tenants)}:
        raise NotFound("There is no such conversation.")
    return conversation


def message_of(tenants: Tenants, message_id: UUID) -> Message:
    """The message, with its sender loaded.

    Raises:
        NotFound: it does not exist or belongs to another tenant.
    """
    whole = Message.objects.select_related("sender")
    found = whole.filter(pk=message_id, tenant_id__in=_within(tenants)).first()
    if found is None:
        raise NotFound("There is no such message.")
    return found


def delivery_of(message: Message) -> Delivery | None:
    """The message's own send; None for what we did not send."""
    if message.direction == Message.Direction.INCOMING:
        return None
    return Delivery.objects.filter(message_id=message.pk, kind__in=SEND_KINDS).first()
