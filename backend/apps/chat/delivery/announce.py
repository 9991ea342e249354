"""Telling browsers what became of a delivery."""

from __future__ import annotations

from uuid import UUID

from apps.chat.delivery.lane import OWN_SENDS, Final, Finalized, Step
from apps.chat.delivery.policy import next_attempt_at
from apps.chat.models import Ack, Delivery, Message
from apps.chat.realtime import events
from apps.chat.realtime.broadcast import publish
from apps.chat.status import status_of


def sending(step: Step) -> None:
    """A step was taken."""
    if step.kind in OWN_SENDS:
        publish(
            step.tenant_id,
            events.message_status_update(
                message_id=step.message_id,
                conversation_id=step.conversation_id,
                status="sending",
                attempts=step.attempts,
            ),
        )


def finalized(step: Step, final: Final, row: Finalized | None) -> None:
    """An outcome was recorded; nothing is said of one that came too late."""
    if row is None or step.kind not in OWN_SENDS:
        return
    publish(
        step.tenant_id,
        events.message_status_update(
            message_id=step.message_id,
            conversation_id=step.conversation_id,
            status=status_of(row.state, step.attempts, Ack.SUBMITTED if final.prov else Ack.NONE),
            reason=final.reason,
            attempts=step.attempts,
            next_attempt_at=next_attempt_at(final),
            provider_id=final.prov,
            failure_gen=row.failure_gen,
        ),
    )


def message_changed(message_id: UUID) -> None:
    """Say a message's status as the database has it now (evidence, acks, what a person did)."""
    message = Message.objects.filter(pk=message_id).first()
    if message is not None:
        delivery = Delivery.objects.filter(message_id=message_id, kind__in=OWN_SENDS).first()
        publish(message.tenant_id, events.status_of_message(message, delivery))
