"""Rows turned into answers, with what they need fetched in as few queries as a page takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from apps.chat.delivery.estimate import leaves_in
from apps.chat.models import Delivery, Instance, Message, MessageAttachment, MessageReaction
from apps.chat.realtime.shapes import SEND_KINDS, message_json

Json = dict[str, Any]


def shown(message: Message, delivery: Delivery | None = None) -> Json:
    """One message; while it waits with its place in the lane and when it leaves, which takes a few queries more."""
    if delivery is None:
        delivery = _deliveries([message]).get(message.pk)
    given = reactions_of([message]).get(message.pk, ())
    files = attachments_of([message]).get(message.pk, ())
    if delivery is None or delivery.state != Delivery.State.QUEUED:
        return message_json(message, delivery, reactions=given, attachments=files)
    before = _lane(message.conversation_id).filter(seq__lt=delivery.seq)
    head = before.first()
    position = before.count() if head else 0
    return message_json(
        message,
        delivery,
        held_by=str(head.message_id) if head else None,
        position=position,
        leaves_in_seconds=leaves_in(delivery, head, position),
        gate_reason=_gate_reason(message.instance_id),
        reactions=given,
        attachments=files,
    )


def shown_all(messages: Sequence[Message]) -> list[Json]:
    """A page of one conversation's messages."""
    deliveries = _deliveries(messages)
    waiting = any(row.state == Delivery.State.QUEUED for row in deliveries.values())
    head = (
        _lane(messages[0].conversation_id).values_list("message_id", flat=True).first() if waiting else None
    )
    shut = _gate_reason(messages[0].instance_id) if waiting else ""
    given, files = reactions_of(messages), attachments_of(messages)
    return [
        message_json(
            row,
            deliveries.get(row.pk),
            held_by=_held_by(row, deliveries, head),
            gate_reason=shut,
            reactions=given.get(row.pk, ()),
            attachments=files.get(row.pk, ()),
        )
        for row in messages
    ]


def reactions_of(messages: Sequence[Message]) -> dict[UUID, list[MessageReaction]]:
    """The reactions to these messages, with who of the team reacted."""
    found: dict[UUID, list[MessageReaction]] = {}
    for row in MessageReaction.objects.select_related("user").filter(message__in=messages):
        found.setdefault(row.message_id, []).append(row)
    return found


def attachments_of(messages: Sequence[Message]) -> dict[UUID, list[MessageAttachment]]:
    """The files of these messages, in their order; a text has none, so texts cost no query."""
    wanted = [row.pk for row in messages if row.kind != "text"]
    if not wanted:
        return {}
    found: dict[UUID, list[MessageAttachment]] = {}
    rows = MessageAttachment.objects.filter(message_id__in=wanted).order_by("position", "id")
    for row in rows:
        found.setdefault(row.message_id or row.pk, []).append(row)
    return found


def _gate_reason(instance_id: UUID) -> str:
    parked = Instance.objects.filter(pk=instance_id, gate=Instance.Gate.PARKED)
    return parked.values_list("gate_reason", flat=True).first() or ""


def _held_by(message: Message, deliveries: dict[UUID, Delivery], head: UUID | None) -> str | None:
    delivery = deliveries.get(message.pk)
    waits = delivery is not None and delivery.state == Delivery.State.QUEUED
    return str(head) if waits and head is not None and head != message.pk else None


def _deliveries(messages: Sequence[Message]) -> dict[UUID, Delivery]:
    ours = [row.pk for row in messages if row.origin == Message.Origin.API]
    if not ours:
        return {}
    return {row.message_id: row for row in Delivery.objects.filter(message_id__in=ours, kind__in=SEND_KINDS)}


def _lane(conversation_id: UUID) -> Any:
    return Delivery.objects.filter(conversation_id=conversation_id, live=True).order_by("seq")
