"""Webhook transport: retries, what is never retried, identical bodies, order of echo and answer."""

from __future__ import annotations

import random

import pytest

from evolution_simulator.config import RetryPolicy
from evolution_simulator.webhooks import Disturbance, WebhookSender

from .support import Receiver, RunningSimulator, until

_ANA = "5511990000001"


def _outcomes(lab: RunningSimulator, event: str) -> list[tuple[int, int, str]]:
    found = lab.control("GET", f"webhooks?event={event}")["webhooks"]
    return [(entry["status"], entry["attempts"], entry["outcome"]) for entry in found]


def test_a_retry_carries_the_same_bytes(lab: RunningSimulator, receiver: Receiver) -> None:
    answers = iter([500, 429, 200])
    receiver.answer = lambda _: next(answers)
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    lab.send("hello")
    arrived = receiver.wait("send.message", 3)
    assert len({one.raw for one in arrived}) == 1
    until(lambda: _outcomes(lab, "send.message") == [(200, 3, "delivered")])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_some_answers_are_final(lab: RunningSimulator, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _: status
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    lab.send("hello")
    until(lambda: _outcomes(lab, "send.message") == [(status, 1, "abandoned")])


@pytest.mark.parametrize("status", [302, 410, 503])
def test_other_answers_are_retried_until_the_attempts_are_used_up(
    lab: RunningSimulator, receiver: Receiver, status: int
) -> None:
    receiver.answer = lambda _: status
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    lab.send("hello")
    until(lambda: _outcomes(lab, "send.message") == [(status, 4, "abandoned")])


def test_silence_is_retried(lab: RunningSimulator, receiver: Receiver) -> None:
    answers = iter([None, 204])
    receiver.answer = lambda _: next(answers)
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    lab.send("hello")
    until(lambda: _outcomes(lab, "send.message") == [(204, 2, "delivered")])


def test_a_refused_connection_is_retried_without_delaying_sends(lab: RunningSimulator) -> None:
    lab.hook("lab-wa", "http://127.0.0.1:1/", ("SEND_MESSAGE",))
    assert lab.send("hello").elapsed.total_seconds() < 1
    until(lambda: _outcomes(lab, "send.message") == [(0, 4, "abandoned")])


def test_retries_keep_their_url_and_headers_when_the_webhook_changes(
    lab: RunningSimulator, receiver: Receiver
) -> None:
    answers = iter([500, 200])
    receiver.answer = lambda _: next(answers)
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",), headers={"X-Lab": "old"})
    lab.send("hello")
    receiver.wait("send.message")
    lab.hook("lab-wa", "http://127.0.0.1:1/new", ("SEND_MESSAGE",), headers={"X-Lab": "new"})
    arrived = receiver.wait("send.message", 2)
    assert [one.headers["X-Lab"] for one in arrived] == ["old", "old"]


def test_the_default_schedule_is_evolutions() -> None:
    sender = WebhookSender(RetryPolicy(), random.Random(3), lambda *_: Disturbance(), "", 1)
    wanted = [5, 10, 20, 40, 80, 160, 300, 300, 300]
    for _ in range(50):
        waits = [sender.wait_after(attempt) for attempt in range(1, 10)]
        assert all(max(5, 0.8 * base) <= wait <= 1.2 * base for wait, base in zip(waits, wanted, strict=True))


def test_only_subscribed_events_are_sent(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url, ("MESSAGES_UPDATE",))
    lab.send("hello")
    receiver.wait("messages.update", 2)
    assert receiver.of("send.message") == []


@pytest.mark.parametrize("mode", ["before", "after"])
def test_the_echo_can_come_before_or_after_the_answer(
    lab: RunningSimulator, receiver: Receiver, mode: str
) -> None:
    lab.control("POST", "switches", {"echo": mode})
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    for index in range(5):
        lab.send(f"n{index}")
        if mode == "before":
            assert len(receiver.of("send.message")) == index + 1
        receiver.wait("send.message", index + 1)


def test_a_receiver_that_waits_for_our_answer_does_not_hold_it_up(
    lab: RunningSimulator, receiver: Receiver
) -> None:
    lab.control("POST", "switches", {"echo": "before"})
    receiver.answer = lambda _: None
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    assert lab.send("hello").elapsed.total_seconds() < 1


def test_webhook_faults(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE", "MESSAGES_UPDATE"))
    lab.fault(preset="acks_dropped")
    lab.fault(webhook="duplicate", seconds=0.01, match={"event": "send.message"}, times=1)
    lab.send("one")
    lab.send("two")
    receiver.wait("send.message", 3)
    until(lambda: len(_outcomes(lab, "messages.update")) == 4)
    assert {outcome for _, _, outcome in _outcomes(lab, "messages.update")} == {"dropped"}
    assert receiver.of("messages.update") == []


def test_shuffled_webhooks_all_arrive(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url, ("SEND_MESSAGE",))
    lab.fault(preset="webhooks_shuffled", seconds=0.3)
    texts = [f"n{index:02}" for index in range(20)]
    for text in texts:
        lab.send(text)
    receiver.wait("send.message", 20)
    arrived = [data["message"]["conversation"] for data in receiver.data("send.message")]
    assert sorted(arrived) == texts
    assert arrived != texts


def test_an_edit_that_cannot_be_delivered_stalls_inbound_if_switched_on(
    lab: RunningSimulator, receiver: Receiver
) -> None:
    lab.control("POST", "switches", {"stall_on_edited": True})
    receiver.answer = lambda arrived: 500 if arrived.event == "messages.edited" else 200
    lab.hook("lab-wa", receiver.url)
    said = lab.control("POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "v1"})
    edit = {"instance": "lab-wa", "key_id": said["key_id"], "text": "v2"}
    lab.control("POST", f"customers/{_ANA}/edit", edit)
    held = lab.control("POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "later"})
    assert held["held"] == 1
    receiver.wait("messages.upsert", 2)
    assert len(receiver.of("messages.edited")) == 4


def test_silence_after_logout_if_switched_on(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.control("POST", "switches", {"silence_after_logout": True})
    lab.call("DELETE", "/instance/logout/lab-wa")
    until(lambda: lab.call("GET", "/instance/connectionState/lab-wa").json()["instance"]["state"] == "close")
    lab.open("lab-wa")
    lab.hook("lab-wa", receiver.url)
    lab.control("POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "anyone?"})
    receiver.wait("chats.update")
    receiver.wait("contacts.update")
    assert receiver.of("messages.upsert") == []


def test_what_happens_while_offline_arrives_on_reconnect(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.control("POST", "customers", {"number": _ANA, "delivery_delay": [0.2, 0.2]})
    lab.send("before it went down")
    lab.control("POST", "instances/lab-wa/state", {"state": "connecting"})
    lab.control(
        "POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "while away", "timestamp": 1700000000}
    )
    until(lambda: len(lab.sim.store.instances["lab-wa"].held) == 3)
    assert receiver.of("messages.upsert") == receiver.of("messages.update") == []
    lab.open("lab-wa")
    assert receiver.wait("messages.upsert")[0].body["data"]["messageTimestamp"] == 1700000000
    receiver.wait("messages.update", 2)
