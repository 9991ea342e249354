"""Finding what a caller names, within the tenants they belong to: another tenant's is not found."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

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
    rows = Conversation.objects.select_related("contact", "instance", "assigned_to").defer(*INSTANCE_SECRETS)
    found = rows.filter(pk=conversation_id, tenant_id__in=_within(tenants)).first()
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def conversation_to_write_in(tenants: Tenants, conversation_id: UUID) -> Conversation:
    """As `conversation_of`, with nothing loaded beside it: all that sending needs, at a third of the price.

    Raises:
        NotFound: it does not exist or belongs to another tenant.
    """
    try:
        return Conversation.objects.get(pk=conversation_id, tenant_id__in=_within(tenants))
    except Conversation.DoesNotExist:
        raise NotFound("There is no such conversation.") from None


def message_of(tenants: Tenants, message_id: UUID) -> Message:
    """The message, with its sender loaded.

    Raises:
        NotFound: it does not exist or belongs to another tenant.
    """
    rows = Message.objects.select_related("sender")
    found = rows.filter(pk=message_id, tenant_id__in=_within(tenants)).first()
    if found is None:
        raise NotFound("There is no such message.")
    return found


def delivery_of(message: Message) -> Delivery | None:
    """The message's own send; None for what we did not send."""
    if message.direction == Message.Direction.INCOMING:
        return None
    return Delivery.objects.filter(message_id=message.pk, kind__in=SEND_KINDS).first()
