"""The one word a person sees, from what the delivery and WhatsApp's acks say."""

from __future__ import annotations

from apps.chat.models import Ack, Delivery, Message

State = Delivery.State

_BY_STATE = {
    State.SENDING: "sending",
    State.VERIFYING: "verifying",
    State.HELD: "held",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
_BY_ACK = {
    Ack.NONE: "submitted",
    Ack.SUBMITTED: "submitted",
    Ack.SENT: "sent",
    Ack.DELIVERED: "delivered",
    Ack.SEEN: "seen",
}


def status_of(
    state: int | None, attempts: int, ack: int, *, incoming: bool = False, ack_error: bool = False
) -> str:
    """The status word.

    Args:
        state: the send's `Delivery.State`, or None when we did not send it (incoming, or typed elsewhere).
        attempts: steps taken so far; a queued row that was tried before is waiting to retry.
        ack: the message's `Ack`.
        incoming: a customer's message.
        ack_error: WhatsApp rejected it after accepting it.
    """
    if incoming:
        return "received"
    if state == State.QUEUED:
        return "retrying" if attempts else "queued"
    if state in _BY_STATE:
        return _BY_STATE[State(state)]
    return "failed" if ack_error else _BY_ACK[Ack(ack)]


def message_status(message: Message, delivery: Delivery | None) -> str:
    """`status_of` for model instances; `delivery` is the message's own send (kind text or media)."""
    state, attempts = (delivery.state, delivery.attempts) if delivery else (None, 0)
    incoming = message.direction == Message.Direction.INCOMING
    return status_of(state, attempts, message.ack, incoming=incoming, ack_error=message.ack_error)
