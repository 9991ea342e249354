"""Clashes: one provider id claimed by two attempts, or by an attempt and a message stored as somebody else's."""

from __future__ import annotations

from django.db import transaction

from apps.chat.delivery.lane import Final, database_now
from apps.chat.models import Ack, Attempt, Delivery, Message

State = Delivery.State
Closed = Attempt.Closed


class Outranked(Exception):
    """A match by content claims an id that an answer gave to another attempt: it says nothing of its row."""


class ClashUnsettled(Exception):
    """Two attempts claim one provider id with equal right: nothing is written, a person must look."""


def settle_clash(final: Final) -> None:
    """Make room for a provider id that somebody else holds.

    The answer to a POST outranks a match by content: the weaker holder loses the id and goes back to verifying. A
    message stored as somebody else's under this id was ours after all, and is taken away.
    """
    if final.prov is None:
        return
    with transaction.atomic():
        delivery = Delivery.objects.get(pk=final.id)
        _unbind_weaker(delivery, final)
        _drop_twin(delivery, final)


def _unbind_weaker(delivery: Delivery, final: Final) -> None:
    holder = (
        Attempt.objects.select_for_update(no_key=True)
        .filter(instance_id=delivery.instance_id, provider_id=final.prov)
        .exclude(delivery_id=delivery.id, n=final.n)
        .first()
    )
    if holder is None:
        return
    if holder.bound_by == Attempt.BoundBy.ANSWER and final.bound_by == Attempt.BoundBy.MATCH:
        raise Outranked(f"provider id matched to delivery {delivery.id} is that of {holder.delivery_id}")
    if holder.bound_by == final.bound_by:
        raise ClashUnsettled(
            f"provider id of delivery {delivery.id} is bound to delivery {holder.delivery_id}"
        )
    Attempt.objects.filter(pk=holder.pk).update(provider_id=None, bound_by=None, closed=None, closed_at=None)
    other = Delivery.objects.select_for_update(no_key=True).get(pk=holder.delivery_id)
    proof = Attempt.objects.filter(delivery_id=other.pk, closed=Closed.ACCEPTED).order_by("n").last()
    Message.objects.filter(pk=other.message_id, provider_id=final.prov).update(
        provider_id=proof.provider_id if proof else None,
        ack=Ack.SUBMITTED if proof else Ack.NONE,
        sent_at=None,
    )
    if proof is not None:  # accepted by another attempt as well: still sent, and never again
        return
    verify_again(other)


def verify_again(delivery: Delivery) -> None:
    """What proved this row is gone: whether it went out must be found out anew."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.VERIFYING,
        fence=delivery.fence + 1,
        owner=None,
        checks=0,
        finished_at=None,
        reason="proof_withdrawn",
        wake_at=database_now(),
        sweep_at=database_now(),
    )


def _drop_twin(delivery: Delivery, final: Final) -> None:
    twin = (
        Message.objects.filter(instance_id=delivery.instance_id, provider_id=final.prov)
        .exclude(pk=delivery.message_id)
        .first()
    )
    if twin is None or twin.origin == Message.Origin.API:
        return
    Message.objects.filter(pk=twin.pk).delete()
    Message.objects.filter(pk=delivery.message_id, ack__lt=twin.ack).update(ack=twin.ack)
