"""The one emoji each person put on a message, whoever tells of it first: WhatsApp, or our own send.

What is later by its own time wins, so that the order of telling does not matter. A reaction that was taken back
stays as a row without emoji: an older one that comes late must not bring it back.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Q

from apps.chat.models import Attempt, Message, MessageReaction
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.tenancy.models import User

OURS = ""
EMOJI_LENGTH = 64


def put(
    message: Message,
    author: str,
    emoji: str,
    at: datetime,
    *,
    user: User | None = None,
    in_group: bool = False,
) -> bool:
    """Let a message carry this person's emoji (empty: none any more), unless a later one is known.

    Args:
        author: the person's canonical JID key, `OURS` for our own number.
        at: WhatsApp's time for what came in, ours for what we sent. Of two at the same time the greater emoji wins.
        user: who of the team reacted.
        in_group: several may react there; in a direct chat everybody who is not us is one person, under any address.

    Returns:
        Whether something changed. Call inside a transaction, tell the browsers (`tell`) after it.
    """
    of_message = MessageReaction.objects.filter(message=message)
    mine = of_message.filter(author=author) if in_group or author == OURS else of_message.exclude(author=OURS)
    known = mine.first()
    if known is None:
        known, made = MessageReaction.objects.get_or_create(
            message=message,
            author=author[:128],
            defaults={
                "tenant_id": message.tenant_id,
                "emoji": emoji[:EMOJI_LENGTH],
                "reacted_at": at,
                "user": user,
            },
        )
        if made:
            return bool(emoji)
    older = Q(reacted_at__lt=at) | Q(reacted_at=at, emoji__lt=emoji[:EMOJI_LENGTH])
    who = {} if user is None and known.emoji == emoji else {"user": user}
    rows = MessageReaction.objects.filter(older, pk=known.pk)
    changed = rows.update(emoji=emoji[:EMOJI_LENGTH], reacted_at=at, **who)
    return bool(changed) and known.emoji != emoji


def message_named(instance_id: UUID, provider_id: str) -> Message | None:
    """The message that has this id at WhatsApp, under its own or under any attempt to send it."""
    own = Message.objects.filter(instance_id=instance_id, provider_id=provider_id).first()
    if own is not None:
        return own
    attempts = Attempt.objects.filter(instance_id=instance_id, provider_id=provider_id)
    return Message.objects.filter(pk__in=attempts.values("delivery__message_id")).first()


def tell(message: Message) -> None:
    """Tell the browsers which reactions a message carries now. Call after the commit."""
    rows = MessageReaction.objects.select_related("user").filter(message=message)
    publish(message.tenant_id, events.message_reaction_update(message, rows))
