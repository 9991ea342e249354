"""Send faults: what the caller sees, what WhatsApp got, what evidence is left."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from evolution_simulator.presets import PRESETS

from .support import API_KEY, Receiver, RunningSimulator, until

_ANA = "5511990000001"
_JID = f"{_ANA}@s.whatsapp.net"


def _found(lab: RunningSimulator, text: str) -> int:
    where = {"where": {"key": {"remoteJid": _JID, "fromMe": True}}, "offset": 500}
    records = lab.call("POST", "/chat/findMessages/lab-wa", where).json()["messages"]["records"]
    return sum(record["message"].get("conversation") == text for record in records)


_CANNED = [
    ("E1", 400, [['instance requires property "text"']]),
    ("E2", 400, [{"jid": _JID, "exists": False, "number": _ANA}]),
    ("E4", 500, "Connection Closed"),
    ("E5", 500, "Timed Out"),
    ("E7", 400, ["Error: Connection Closed"]),
    ("E8", 400, ["Error: Timed Out"]),
    ("E9", 400, ["SessionError: No sessions"]),
    ("E10", 500, "rate-overlimit"),
    ("E11", 400, ["[object Object]"]),
    ("E17", 404, ['The "lab-wa" instance does not exist']),
    ("E18", 401, "Unauthorized"),
]


@pytest.mark.parametrize(("preset", "status", "message"), _CANNED)
def test_preset_answers(lab: RunningSimulator, preset: str, status: int, message: Any) -> None:
    lab.fault(preset=preset, times=1)
    answer = lab.send("hello")
    assert (answer.status_code, answer.json()["response"]["message"]) == (status, message)
    accepted = PRESETS[preset].get("accept", True)
    assert [entry["answered"] for entry in lab.accepted()] == ([str(status)] if accepted else [])
    assert lab.send("again").status_code == 201


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_can_be_put_in_force(running: RunningSimulator, preset: str) -> None:
    assert running.fault(preset=preset, times=0)["preset"] == preset


def test_accepted_then_reset(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.fault(preset="E22", times=1)
    with pytest.raises(httpx.ReadError):
        lab.send("lost answer")
    (entry,) = lab.accepted()
    assert (entry["answered"], entry["text"], entry["jid"]) == ("reset", "lost answer", _JID)
    assert receiver.wait("send.message")[0].body["data"]["key"]["id"] == entry["key_id"]
    receiver.wait("messages.update", 2)
    assert _found(lab, "lost answer") == 1


def test_reset_without_accepting(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.fault(preset="E21", times=1)
    with pytest.raises(httpx.ReadError):
        lab.send("never left")
    assert lab.accepted() == []
    assert _found(lab, "never left") == 0


def test_hang_ends_in_a_reset(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.fault(preset="hang", hang_seconds=0.4, times=1)
    began = time.monotonic()
    with pytest.raises(httpx.ReadError):
        lab.send("hanging")
    assert time.monotonic() - began >= 0.4
    assert [entry["answered"] for entry in lab.accepted()] == ["hang"]
    receiver.wait("send.message")


@pytest.mark.parametrize("accept", [True, False])
def test_a_gateway_timeout_says_nothing_about_acceptance(lab: RunningSimulator, accept: bool) -> None:
    lab.fault(preset="E20", accept=accept, times=1)
    answer = lab.send("gateway")
    assert answer.status_code == 504
    assert answer.headers["content-type"].startswith("text/html")
    assert [entry["answered"] for entry in lab.accepted()] == (["504"] if accept else [])
    assert _found(lab, "gateway") == int(accept)


def test_without_evidence_nothing_shows(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.fault(preset="E7", evidence=False, times=1)
    lab.send("traceless")
    lab.send("visible")
    receiver.wait("messages.update", 2)
    assert [data["message"]["conversation"] for data in receiver.data("send.message")] == ["visible"]
    assert _found(lab, "traceless") == 0
    assert [entry["text"] for entry in lab.accepted()] == ["traceless", "visible"]


def test_nul_goes_out_but_the_database_refuses_it(lab: RunningSimulator) -> None:
    answer = lab.send("nul \0")
    assert answer.status_code == 400
    assert answer.json()["response"]["message"] == ["DriverAdapterError: unsupported Unicode escape sequence"]
    assert [entry["answered"] for entry in lab.accepted()] == ["400"]
    assert _found(lab, "nul \0") == 0


@pytest.mark.parametrize(("preset", "statuses"), [("E23", []), ("E24", ["ERROR"]), ("E25", ["SERVER_ACK"])])
def test_acks_that_differ(
    lab: RunningSimulator, receiver: Receiver, preset: str, statuses: list[str]
) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.fault(preset=preset, match={"text_regex": "^odd"})
    odd = lab.send("odd one").json()["key"]["id"]
    normal = lab.send("normal").json()["key"]["id"]
    receiver.wait("messages.update", 2 + len(statuses))
    by_id: dict[str, list[str]] = {odd: [], normal: []}
    for data in receiver.data("messages.update"):
        by_id[data["keyId"]].append(data["status"])
    assert by_id == {odd: statuses, normal: ["DELIVERY_ACK", "READ"]}


def test_a_slow_accept_is_logged_when_it_happens(lab: RunningSimulator) -> None:
    lab.fault(preset="slow_accept", delay=0.3, times=1)
    lab.send("slow")
    (entry,) = lab.accepted()
    assert entry["at"] - entry["first_byte_at"] >= 0.3


def test_a_caller_who_gives_up_does_not_cancel_the_send(lab: RunningSimulator) -> None:
    lab.fault(delay=0.4, times=1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{lab.url}/message/sendText/lab-wa",
            json={"number": _ANA, "text": "given up"},
            headers={"apikey": API_KEY},
            timeout=0.1,
        )
    assert lab.accepted() == []
    until(lambda: [entry["text"] for entry in lab.accepted()] == ["given up"])


def test_find_faults(lab: RunningSimulator) -> None:
    lab.send("there")
    lab.fault(preset="find_empty", times=1)
    assert _found(lab, "there") == 0
    lab.fault(preset="find_500", times=1)
    assert lab.call("POST", "/chat/findMessages/lab-wa", {}).status_code == 500
    assert _found(lab, "there") == 1


def test_persistence_can_be_switched_off(lab: RunningSimulator) -> None:
    lab.control("POST", "switches", {"persist": False})
    lab.send("unwritten")
    assert _found(lab, "unwritten") == 0
    assert len(lab.accepted()) == 1


def test_connect_can_fail_with_200(lab: RunningSimulator) -> None:
    lab.fault(preset="E26", times=2)
    for method, path in (("GET", "connect"), ("POST", "restart")):
        answer = lab.call(method, f"/instance/{path}/lab-wa")
        assert (answer.status_code, answer.json()["error"]) == (200, True)


def test_a_fault_can_be_narrowed_and_removed(lab: RunningSimulator) -> None:
    fault = lab.fault(preset="E4", match={"number": "+55 11 99000-0002"})
    assert lab.send("a").status_code == 201
    assert lab.send("b", "5511990000002").status_code == 500
    assert lab.control("GET", "faults")["faults"][0]["fired"] == 1
    assert lab.control("DELETE", f"faults/{fault['id']}") == {"removed": 1}
    assert lab.send("c", "5511990000002").status_code == 201


def test_probability_follows_the_seed() -> None:
    def run() -> list[int]:
        running = RunningSimulator(seed=99)
        try:
            running.create("lab-wa")
            running.open("lab-wa")
            running.fault(preset="E4", probability=0.5)
            return [running.send(f"n{index}").status_code for index in range(30)]
        finally:
            running.stop()

    first = run()
    assert set(first) == {201, 500}
    assert first == run()


@pytest.mark.parametrize(
    "spec",
    [
        {"preset": "E99"},
        {"answer": "maybe"},
        {"accept": False},
        {"match": {"colour": "blue"}},
        {"colour": "blue"},
        {"match": {"text_regex": "("}},
        {"webhook": "explode"},
    ],
)
def test_nonsense_is_refused(running: RunningSimulator, spec: dict[str, Any]) -> None:
    answer = running.http.post("/_control/faults", json=spec)
    assert answer.status_code == 400
    assert running.control("GET", "faults")["faults"] == []


def test_the_log_file_has_every_accepted_send(tmp_path: Path) -> None:
    path = tmp_path / "accepted.jsonl"
    running = RunningSimulator(log_path=path)
    try:
        running.create("lab-wa")
        running.open("lab-wa")
        running.fault(preset="E22", match={"text_regex": "reset"})
        running.fault(preset="E4", match={"text_regex": "refused"})
        running.send("ok")
        with pytest.raises(httpx.ReadError):
            running.send("reset")
        running.send("refused")
        entries = [json.loads(line) for line in path.read_text().splitlines()]
    finally:
        running.stop()
    assert [(entry["n"], entry["text"], entry["answered"]) for entry in entries] == [
        (1, "ok", "201"),
        (2, "reset", "reset"),
    ]
    fields = "n at instance endpoint kind number jid text key_id answered first_byte_at body_sha256"
    assert all(set(entry) == set(fields.split()) for entry in entries)
