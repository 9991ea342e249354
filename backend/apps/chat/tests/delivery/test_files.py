"""What the engine adds around files: the circuit that holds them back, and how long an upload may take."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.chat.delivery.evidence import Bound, bind_echo
from apps.chat.delivery.media_circuit import IN_A_ROW, OPENED_BY, REASON, MediaCircuit
from apps.chat.delivery.policy import decide
from apps.chat.delivery.resolver import open_case
from apps.chat.delivery.sender import SelfFence
from apps.chat.delivery.settle import finish_seconds, settle_seconds
from apps.chat.evolution.fingerprint import fingerprint
from apps.chat.evolution.outcomes import Outcome, Verdict
from apps.chat.models import Delivery
from apps.chat.tests.factories import age_attempts, claim, echo, queue, stepped, unclear, write

MEDIA = Delivery.Kind.MEDIA

FULL = Outcome(Verdict.NOT_SENT, OPENED_BY, wait=30, scope="media")
TAKEN = Outcome(Verdict.ACCEPTED, "accepted", provider_id="3EB0")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Step:
    """As much of a step as the circuit and the policy look at."""

    def __init__(self, instance: UUID, kind: int = Delivery.Kind.MEDIA) -> None:
        self.instance_id, self.kind = instance, kind
        self.id, self.attempts, self.fence, self.tries, self.message_id = 1, 1, 1, 1, uuid4()


def opened() -> tuple[MediaCircuit, Any, Clock]:
    clock, step = Clock(), Step(uuid4())
    circuit = MediaCircuit(clock)
    for _ in range(IN_A_ROW):
        assert circuit.refusal(step) is None  # type: ignore[arg-type]
        circuit.ended(step, FULL)  # type: ignore[arg-type]
    return circuit, step, clock


def test_after_three_refusals_files_of_that_number_wait_and_nothing_else() -> None:
    circuit, step, _ = opened()
    refusal = circuit.refusal(step)
    assert refusal is not None
    assert (refusal.reason, refusal.verdict, refusal.wait) == (REASON, Verdict.NOT_SENT, 30)
    assert circuit.refusal(Step(uuid4())) is None  # type: ignore[arg-type]
    assert circuit.refusal(Step(step.instance_id, Delivery.Kind.TEXT)) is None  # type: ignore[arg-type]


def test_a_file_that_waits_burns_no_try() -> None:
    circuit, step, _ = opened()
    refusal = circuit.refusal(step)
    assert refusal is not None
    final = decide(step, refusal)
    assert (final.state, final.refund, final.wait) == (Delivery.State.QUEUED, 1, 30)


def test_one_probe_at_a_time_and_its_success_opens_the_way() -> None:
    circuit, step, clock = opened()
    clock.now += 31
    assert circuit.refusal(step) is None
    assert circuit.refusal(step) is not None, "the probe is on its way"
    circuit.ended(step, TAKEN)
    assert circuit.refusal(step) is None
    circuit.ended(step, FULL)
    assert circuit.refusal(step) is None, "counting starts anew"


def test_a_probe_that_is_refused_doubles_the_pause() -> None:
    circuit, step, clock = opened()
    clock.now += 31
    assert circuit.refusal(step) is None
    circuit.ended(step, FULL)
    clock.now += 31
    assert circuit.refusal(step) is not None
    clock.now += 30
    assert circuit.refusal(step) is None


def test_a_probe_that_shows_nothing_is_followed_by_another() -> None:
    circuit, step, clock = opened()
    clock.now += 31
    assert circuit.refusal(step) is None
    circuit.ended(step, Outcome(Verdict.NOT_SENT, "not_on_whatsapp", permanent=True))
    assert circuit.refusal(step) is None


class Alive:
    alive = True


def test_an_upload_may_take_what_settle_leaves_and_its_own_time(settings: Any) -> None:
    settings.CHAT_SEND_FENCE_SECONDS, settings.CHAT_SEND_SETTLE_SECONDS = 10, 95
    settings.CHAT_MEDIA_BYTES_PER_SECOND = 1000
    file = {"size": 30_000}
    assert finish_seconds(MEDIA, {}) == 20
    assert finish_seconds(MEDIA, file) == 50
    assert settle_seconds(MEDIA, file) == 95 + 60, (
        "the end, 30 s later than a text's, and 30 s more to WhatsApp"
    )
    assert settle_seconds(Delivery.Kind.TEXT, file) == 95
    settings.CHAT_SEND_SETTLE_SECONDS = 4
    assert finish_seconds(MEDIA, {}) == 10
    ago = lambda seconds: SelfFence(time.monotonic() - seconds, Alive(), 50)  # type: ignore[arg-type]  # noqa: E731
    assert ago(49).may_finish()
    assert not ago(51).may_finish(), "it could be accepted after its absence has counted"
    assert not ago(11).may_send()


@pytest.mark.django_db
def test_the_absence_of_a_large_file_counts_later(settings: Any) -> None:
    settings.CHAT_MEDIA_BYTES_PER_SECOND = 1000
    delivery = queue(kind=MEDIA, payload={"size": 50_000, "kind": "image", "file_name": ""})
    step = stepped(delivery.conversation)
    write(unclear(step))
    age_attempts(settings.CHAT_SEND_SETTLE_SECONDS + 30)
    claimed = claim(delivery)
    assert claimed is not None
    case = open_case(claimed)
    assert case is not None
    assert (case.settled, 60 < case.settles_in <= 70) == (False, True)


@pytest.mark.django_db
def test_the_echo_of_a_large_file_may_come_long_after_its_step(settings: Any) -> None:
    said = fingerprint("media", mediatype="image", caption="oi")
    delivery = queue(
        kind=MEDIA, fingerprint=said, payload={"size": 5_000_000, "kind": "image", "file_name": ""}
    )
    step = stepped(delivery.conversation)
    write(unclear(step))
    age_attempts(settings.CHAT_SEND_SETTLE_SECONDS + 60)
    late = echo(delivery, kind="image", text=None, caption="oi", message_type="imageMessage")
    assert bind_echo(delivery.instance, [delivery.conversation_id], late) is Bound.ATTEMPT


def test_a_worker_that_others_call_dead_finishes_no_upload() -> None:
    presence = Alive()
    presence.alive = False
    assert not SelfFence(time.monotonic(), presence, 50).may_finish()  # type: ignore[arg-type]
