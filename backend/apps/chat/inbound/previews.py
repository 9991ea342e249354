"""What a conversation's entry in the list says."""

from __future__ import annotations

from apps.chat.models import Conversation, Message

_LENGTH = 160


def preview_of(content: str) -> str:
    """A message's words on one line."""
    return " ".join(content[: 4 * _LENGTH].split())[:_LENGTH]


def preview_again(conversation: Conversation) -> None:
    """Show the latest message, which need not be the one that came last. Wants the row locked."""
    latest = (
        Message.objects.filter(conversation=conversation)
        .exclude(kind="note")
        .order_by("-sort_at", "-id")
        .values_list("content", "kind")
        .first()
    )
    preview = preview_of(_shown(*latest)) if latest else ""
    if preview != conversation.last_message_preview:
        conversation.last_message_preview = preview
        conversation.save(update_fields=["last_message_preview"])


def _shown(content: str, kind: str) -> str:
    """A file that we sent without a caption has no words; what came in has its stub for that already."""
    return content or ("" if kind == "text" else f"[{kind}]")
