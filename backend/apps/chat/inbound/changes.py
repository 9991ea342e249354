"""Edits and deletions of messages, whichever of message and change comes first.

A change before its message waits as an `Evidence` row under `change:<id>`, a name no message can have, and is
taken when the message is stored. Of several edits the latest wins, of several deletions the first, in any
order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import transaction

from apps.chat.evolution.events import EditEvent
from apps.chat.inbound import locks
from apps.chat.inbound.previews import preview_again
from apps.chat.inbound.times import edit_time
from apps.chat.models import Conversation, Evidence, Message, WebhookEvent
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish

PARKED_PREFIX = "change:"
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a message: its latest text, an edit without text, a deletion. Times in ISO format."""

    edited_at: str | None = None
    text: str | None = None
    unseen_edit: bool = False
    deleted_at: str | None = None

    def merged(self, other: Change) -> Change:
        """Both changes in one; the order does not matter."""
        latest = max((self, other), key=lambda change: (change.edited_at or "", change.text or ""))
        deletions = [at for at in (self.deleted_at, other.deleted_at) if at]
        return Change(
            latest.edited_at,
            latest.text,
            self.unseen_edit or other.unseen_edit,
            min(deletions, default=None),
        )


def edited(row: WebhookEvent, event: EditEvent) -> str:
    """Apply an edit; one of ours was written when we asked for it, and its echo says nothing new."""
    if event.text is None:
        change = Change(unseen_edit=True)
    else:
        at = edit_time(event.timestamp_ms, row.received_at)
        change = Change(edited_at=_iso(at), text=event.text)
    return _apply_or_park(row, event.key_id, change, by_us=event.by_us)


def deleted(row: WebhookEvent, provider_id: str) -> str:
    """Mark a message as deleted at WhatsApp. Its words stay in the row."""
    return _apply_or_park(row, provider_id, Change(deleted_at=_iso(row.received_at)))


def parked_change(parked: Evidence | None) -> Change | None:
    """The change that an `Evidence` row keeps."""
    return Change(**parked.record) if parked and parked.record else None


def attach(message: Message) -> None:
    """Give a message the change that came before it. Its id is held; call inside the transaction."""
    rows = Evidence.objects.filter(
        instance_id=message.instance_id, provider_id=f"{PARKED_PREFIX}{message.provider_id}"
    )
    parked = rows.first()
    if (change := parked_change(parked)) is not None:
        rows.delete()
        _apply(message, change)


def put(message: Message, change: Change) -> list[str]:
    """Change the message in memory; answers the names of the fields that differ now."""
    before = {name: getattr(message, name) for name in ("content", "edited_at", "deleted_at")}
    _put_edit(message, change)
    if change.deleted_at:
        at = datetime.fromisoformat(change.deleted_at)
        message.deleted_at = min(at, message.deleted_at or at)
    return [name for name, value in before.items() if getattr(message, name) != value]


def _put_edit(message: Message, change: Change) -> None:
    if change.edited_at and change.text is not None:
        at = max(datetime.fromisoformat(change.edited_at), message.sort_at + _TICK)
        if message.edited_at is None or (at, change.text) > (message.edited_at, message.content):
            message.edited_at, message.content = at, change.text
    if change.unseen_edit and message.edited_at is None:
        # Older than any edit whose text we may yet be told.
        message.edited_at = message.sort_at


def _iso(at: datetime) -> str:
    """Times as texts that sort like the times."""
    return at.isoformat(timespec="microseconds")


@transaction.atomic
def _apply_or_park(row: WebhookEvent, provider_id: str, change: Change, *, by_us: bool = False) -> str:
    locks.hold(row.instance_id, provider_id)
    message = Message.objects.filter(instance_id=row.instance_id, provider_id=provider_id).first()
    if message is None:
        return _park(row, provider_id, change)
    if by_us and message.origin == Message.Origin.API:
        return "own edit"
    return _apply(message, change)


def _apply(message: Message, change: Change) -> str:
    conversation = Conversation.objects.select_for_update(no_key=True).get(pk=message.conversation_id)
    changed = put(message, change)
    if not changed:
        return "known change"
    message.save(update_fields=changed)
    preview_again(conversation)
    told = events.message_deleted(message) if "deleted_at" in changed else events.message_edited(message)
    transaction.on_commit(lambda: publish(message.tenant_id, told), robust=True)
    return "deleted" if "deleted_at" in changed else "edited"


def _park(row: WebhookEvent, provider_id: str, change: Change) -> str:
    name = f"{PARKED_PREFIX}{provider_id}"
    parked, made = Evidence.objects.get_or_create(
        instance_id=row.instance_id, provider_id=name, defaults={"record": asdict(change)}
    )
    if not made:
        parked.record = asdict((parked_change(parked) or Change()).merged(change))
        parked.save(update_fields=["record"])
    return "change parked"
