"""Reactions: what a person does with an emoji. A delivery in its conversation's lane, like all that speaks there."""

from __future__ import annotations

import emoji as emojis

from apps.chat.delivery import person
from apps.chat.errors import InvalidMessage
from apps.chat.models import Message
from apps.tenancy.models import User


def check_emoji(emoji: str) -> None:
    """Raise InvalidMessage unless this is one emoji; of several, or of a word, WhatsApp makes no reaction."""
    if not emojis.is_emoji(emoji):
        raise InvalidMessage("A reaction is exactly one emoji.")


def react(user: User | None, message: Message, emoji: str) -> bool:
    """Put our number's emoji on a message, in place of the one that is there.

    Returns:
        False when it carries this emoji already; then nothing is sent.

    Raises:
        InvalidMessage: this is not one emoji.
        Conflict: the message has not reached WhatsApp, or is deleted.
    """
    check_emoji(emoji)
    return person.react(message.pk, message.tenant_id, emoji, user)


def take_back(user: User | None, message: Message) -> bool:
    """Take our number's emoji off a message; False when it carries none.

    Raises:
        Conflict: the message has not reached WhatsApp, or is deleted.
    """
    return person.react(message.pk, message.tenant_id, "", user)
