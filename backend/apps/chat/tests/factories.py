"""Small rows for tests: each function writes what it names and nothing it need not.

Times are moved with `age_attempts` and `due_now`: a test changes the row instead of sleeping.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.chat.delivery import lane
from apps.chat.delivery.enqueue import enqueue_delivery
from apps.chat.delivery.finalize import finalize
from apps.chat.delivery.lane import Busy, Final, Step
from apps.chat.evolution.events import MessageEvent
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.evolution.jids import canonical_key
from apps.chat.models import (
    Attempt,
    Contact,
    ContactJid,
    Conversation,
    Delivery,
    Instance,
    Message,
    Worker,
)
from apps.tenancy.models import Tenant

State = Delivery.State
_numbers = itertools.count(1)


def make_tenant(mode: str = "") -> Tenant:
    return Tenant.objects.create(name=f"Padaria {next(_numbers)}", delivery_mode=mode)


def make_instance(tenant: Tenant | None = None, **values: Any) -> Instance:
    """An instance whose gate is open; `base_url` leads nowhere unless given."""
    given = {
        "name": f"lab{next(_numbers)}",
        "base_url": "http://evolution.test",
        "api_key": "test-key",
        "webhook_secret": "secret-of-the-tests",
        **values,
    }
    return Instance.objects.create(tenant=tenant or make_tenant(), **given)


def make_conversation(instance: Instance | None = None, number: str | None = None) -> Conversation:
    """A lane: a contact with one phone number on the instance."""
    instance = instance or make_instance()
    jid = f"{number or 5511900000000 + next(_numbers)}@s.whatsapp.net"
    contact = Contact.objects.create(tenant_id=instance.tenant_id, phone=jid.partition("@")[0])
    ContactJid.objects.create(tenant_id=instance.tenant_id, contact=contact, key=canonical_key(jid), jid=jid)
    return Conversation.objects.create(
        tenant_id=instance.tenant_id, instance=instance, contact=contact, remote_jid=jid
    )


def make_message(conversation: Conversation, text: str | None = None, **values: Any) -> Message:
    """A message without a delivery."""
    now = timezone.now()
    given = {
        "direction": Message.Direction.OUTGOING,
        "origin": Message.Origin.API,
        "content": text if text is not None else f"message {next(_numbers)}",
        "sort_at": now,
        "created_at": now,
        **values,
    }
    return Message.objects.create(
        tenant_id=conversation.tenant_id,
        conversation=conversation,
        instance_id=conversation.instance_id,
        **given,
    )


def queue(conversation: Conversation | None = None, text: str | None = None, **values: Any) -> Delivery:
    """A queued message at the end of the lane; `values` are then set on its delivery."""
    conversation = conversation or make_conversation()
    with transaction.atomic():
        message = make_message(conversation, text)
        delivery = enqueue_delivery(message, fingerprint=fingerprint("text", text=message.content))
        if values:
            Delivery.objects.filter(pk=delivery.pk).update(**values)
    return Delivery.objects.select_related("message", "conversation", "instance").get(pk=delivery.pk)


def queue_many(conversation: Conversation, count: int) -> list[Delivery]:
    return [queue(conversation) for _ in range(count)]


def make_worker(name: str = "worker", *, silent_for: float = 0, stopped: bool = False) -> Worker:
    """A worker whose last heartbeat is `silent_for` seconds old."""
    worker = Worker.objects.create(name=f"{name}-{next(_numbers)}", stopped=stopped)
    if silent_for:
        Worker.objects.filter(pk=worker.pk).update(beat_at=Now() - timedelta(seconds=silent_for))
    return worker


# --- moving lanes ---------------------------------------------------------------------------------


def step_one(conversation: Conversation | UUID, owner: Worker | int = 0) -> Step | None:
    """The lane's head, now the owner's; None when the lane gives nothing. Fails on a busy one."""
    place = conversation.pk if isinstance(conversation, Conversation) else conversation
    rows = lane.step([place], owner.pk if isinstance(owner, Worker) else owner)
    assert len(rows) <= 1
    assert not any(isinstance(row, Busy) for row in rows)
    return next((row for row in rows if isinstance(row, Step)), None)


def stepped(conversation: Conversation, owner: Worker | int = 0) -> Step:
    """`step_one` of a lane that must give something."""
    step = step_one(conversation, owner)
    assert step is not None, "the lane gave nothing"
    return step


def final(step: Step, state: int, **values: Any) -> Final:
    """What became of a step."""
    given = {"message": step.message_id, "n": step.attempts, "fence": step.fence, **values}
    return Final(id=step.id, state=state, **given)


def accepted(step: Step, provider_id: str | None = None, **values: Any) -> Final:
    """Proof: the answer to this step's POST bore this id."""
    given = {"closed": Attempt.Closed.ACCEPTED, **values}
    return final(step, State.SENT, prov=provider_id or f"3EB0{next(_numbers):016X}", **given)


def not_sent(step: Step, state: int = State.QUEUED, **values: Any) -> Final:
    """A definite no: queued again at once, unless another state is given."""
    given = {"closed": Attempt.Closed.NOT_SENT, "reason": "connect_failed", **values}
    if state == State.QUEUED:
        given.setdefault("wait", 0.0)
    return final(step, state, **given)


def unclear(step: Step, **values: Any) -> Final:
    """Nobody knows: to the resolver, due at once."""
    return final(step, State.VERIFYING, **{"reason": "read_timeout", "wait": 0.0, **values})


def write(*finals: Final) -> dict[int, int]:
    """Finalize; the state of each row that changed."""
    return {row.id: row.state for row in finalize(finals)}


def claim(delivery: Delivery | int, owner: int = 0) -> Step | None:
    """The resolver's claim of one row."""
    pk = delivery.pk if isinstance(delivery, Delivery) else delivery
    rows = lane.claim_verifying([pk], owner, 30.0)
    return rows[0] if rows else None


# --- time, moved by hand --------------------------------------------------------------------------


def age_attempts(seconds: float, **where: Any) -> None:
    """Let attempts be `seconds` older than they are."""
    Attempt.objects.filter(**where).update(step_at=F("step_at") - timedelta(seconds=seconds))


def due_now(**where: Any) -> None:
    """Let rows move now, and their alarms ring."""
    past = Now() - timedelta(seconds=1)
    Delivery.objects.filter(**where).update(wake_at=past, sweep_at=past)


# --- what Evolution says --------------------------------------------------------------------------


def echo(delivery: Delivery, provider_id: str | None = None, **values: Any) -> MessageEvent:
    """The `send.message` echo of a delivery's text, with WhatsApp's time of now."""
    given = {
        "instance_name": delivery.instance.name,
        "source_event": "send.message",
        "key_id": provider_id or f"3EB0{next(_numbers):016X}",
        "remote_jid": delivery.conversation.remote_jid,
        "alt_jids": (),
        "from_me": True,
        "participant": None,
        "push_name": None,
        "kind": "text",
        "text": delivery.message.content,
        "quoted_id": None,
        "timestamp": int(lane.database_seconds()),
        "status": None,
        "message_type": "conversation",
        "from_phone": False,
        **values,
    }
    return MessageEvent(**given)
