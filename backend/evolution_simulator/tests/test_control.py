"""The control API, customers who answer, the demo."""

from __future__ import annotations

import httpx
import pytest

from .support import API_KEY, Receiver, RunningSimulator, Timing, until

_ANA = "5511990000001"


def test_accepted_can_be_narrowed(lab: RunningSimulator) -> None:
    lab.send("a")
    lab.send("b", "5585990000001")
    lab.send("c")
    assert [entry["text"] for entry in lab.accepted(number="+55 85 99000-0001")] == ["b"]
    assert [entry["text"] for entry in lab.accepted(number="558590000001@s.whatsapp.net")] == ["b"]
    last = lab.accepted()[-1]["n"]
    assert [entry["text"] for entry in lab.accepted(since_n=last - 1)] == ["c"]
    assert lab.accepted(instance="lab-evo") == []


def test_a_customer_who_does_not_exist(lab: RunningSimulator) -> None:
    lab.control("POST", "customers", {"number": "5511912345678", "exists": False})
    answer = lab.send("hello?", "5511912345678")
    assert answer.json()["response"]["message"] == [
        {"jid": "5511912345678@s.whatsapp.net", "exists": False, "number": "5511912345678"}
    ]
    assert lab.accepted() == []


def test_a_customer_who_never_reads(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.control("POST", "customers", {"number": "5511912345678", "reads": False, "answers": True})
    lab.hook("lab-wa", receiver.url)
    lab.send("unread", "5511912345678")
    lab.send("read")
    receiver.wait("messages.update", 3)
    statuses = [(data["remoteJid"][:13], data["status"]) for data in receiver.data("messages.update")]
    assert ("5511912345678", "READ") not in statuses
    assert receiver.of("messages.upsert") == []


def test_a_customer_who_answers_in_turn(lab: RunningSimulator, receiver: Receiver) -> None:
    person = {"number": _ANA, "name": "Ana", "answers": True, "replies": ["um", "dois"]}
    lab.control("POST", "customers", person)
    lab.hook("lab-wa", receiver.url)
    for index in range(2):
        lab.send(f"n{index}")
        receiver.wait("messages.upsert", index + 1)
    said = [data["message"]["conversation"] for data in receiver.data("messages.upsert")]
    assert said == ["um", "dois"]
    assert receiver.of("presence.update")


def test_a_customer_reached_by_lid(lab: RunningSimulator, receiver: Receiver) -> None:
    person = {"number": _ANA, "lid": "111111111111111@lid", "answers": True, "replies": ["oi"]}
    lab.control("POST", "customers", person)
    lab.hook("lab-wa", receiver.url)
    assert lab.send("hello", "111111111111111@lid").json()["key"]["remoteJid"] == "111111111111111@lid"
    key = receiver.wait("messages.upsert")[0].body["data"]["key"]
    assert (key["remoteJid"], key["remoteJidAlt"]) == ("111111111111111@lid", f"{_ANA}@s.whatsapp.net")


def test_requests_are_counted(lab: RunningSimulator) -> None:
    before = lab.control("GET", "requests")["requests"].get("message/sendText", 0)
    lab.send("a")
    lab.send("b")
    assert lab.control("GET", "requests")["requests"]["message/sendText"] == before + 2


def test_reset_forgets_all_but_the_instances(lab: RunningSimulator) -> None:
    lab.send("a")
    lab.fault(preset="E4")
    lab.control("POST", "reset")
    assert lab.accepted() == []
    assert lab.control("GET", "faults")["faults"] == []
    assert lab.call("POST", "/chat/findMessages/lab-wa", {}).json()["messages"]["total"] == 0
    assert lab.send("b").status_code == 201


def test_the_numbering_of_accepted_sends_survives_a_reset(lab: RunningSimulator) -> None:
    lab.send("a")
    before = lab.accepted()[-1]["n"]
    lab.control("POST", "reset")
    lab.send("b")
    assert lab.accepted()[0]["n"] == before + 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("instances/lab-wa/state", {"state": "asleep"}),
        ("customers", {"name": "nobody"}),
        ("customers", {"number": "5511", "colour": "blue"}),
        ("phone/say", {"instance": "lab-wa"}),
        ("customers/5511/say", {"instance": "lab-wa"}),
        ("switches", {"persistence": True}),
        ("switches", {"echo": "sometimes"}),
    ],
)
def test_nonsense_is_refused(lab: RunningSimulator, path: str, body: dict[str, object]) -> None:
    answer = lab.http.post(f"/_control/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_an_unknown_instance_is_404(lab: RunningSimulator) -> None:
    answer = lab.http.post("/_control/customers/5511/say", json={"instance": "ghost", "text": "x"})
    assert answer.status_code == 404


def test_a_control_key_is_required_once_given() -> None:
    running = RunningSimulator(control_key="secret")
    try:
        assert running.http.get("/_control/health").status_code == 401
        with_key = running.http.get("/_control/health", headers={"x-control-key": "secret"})
        assert with_key.json()["ready"] is True
    finally:
        running.stop()


def test_the_demo(receiver: Receiver) -> None:
    running = RunningSimulator(demo=True, demo_token="demo-token", timing=Timing(connect=0))
    try:
        headers = {"apikey": "demo-token"}
        state = httpx.get(f"{running.url}/instance/connectionState/demo", headers=headers).json()
        assert state["instance"]["state"] == "open"
        people = running.control("GET", "customers")["customers"]
        assert sum(person["answers"] for person in people) >= 4
        assert [person["exists"] for person in people].count(False) == 1
        assert any(person["exists"] and not person["reads"] for person in people)
        running.hook("demo", receiver.url)
        ana = people[0]
        running.send("Bom dia, Ana!", ana["number"], "demo")
        receiver.wait("messages.upsert", 1, 20)
        until(
            lambda: {d["pushName"] for d in receiver.data("messages.upsert")} >= {"Ana Souza", "Bruno Lima"},
            20,
        )
    finally:
        running.stop()
    assert running.config.api_key == API_KEY
