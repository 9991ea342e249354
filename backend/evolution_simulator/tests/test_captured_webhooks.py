"""Recorded webhooks: provoke the same event and find the same body, and the same headers."""

from __future__ import annotations

from typing import Any

import pytest

from .support import PNG, Receiver, RunningSimulator, capture, captured, normal, replay

_ANA = "5511990000001"
_CONTACT = {
    "fullName": "Bob Test",
    "wuid": "5511990000002",
    "phoneNumber": "+55 11 99000-0002",
    "organization": "Org",
    "email": "b@example.com",
    "url": "https://example.com",
}
_LOCATION = {"latitude": -23.5, "longitude": -46.6, "name": "Place", "address": "Street 1"}
_IMAGE = {"mediatype": "image", "mimetype": "image/png", "media": PNG, "caption": "a dot"}
_UNRECORDED: dict[str, tuple[str, dict[str, Any]]] = {
    "stub_sendMedia_image": ("sendMedia", _IMAGE),
    "stub_sendMedia_audio": (
        "sendMedia",
        {"mediatype": "audio", "mimetype": "audio/mpeg", "media": "T2dnUw=="},
    ),
    "stub_sendContact": ("sendContact", {"contact": [_CONTACT]}),
    "stub_sendLocation": ("sendLocation", _LOCATION),
    "stub_sendWhatsAppAudio_garbage": ("sendWhatsAppAudio", {"audio": "aGVsbG8h"}),
    "stub_sendText_br_ddd31": ("sendText", {"number": "5585990000001", "text": "BR ddd>=31"}),
}
"""Requests of cases whose HTTP exchange was not kept: endpoint, body beside the number."""
_GROUP_STATUS = ("stub_sendText_group__", "stub_sendReaction_group__1")
"""Acks for group sends, which the lab's stand-in socket made and WhatsApp does not."""


def _provoke(lab: RunningSimulator, case: str) -> None:
    if case in _UNRECORDED:
        endpoint, body = _UNRECORDED[case]
        answer = lab.call("POST", f"/message/{endpoint}/lab-wa", {"number": _ANA, **body})
        assert answer.status_code == 201, answer.text
    else:
        replay(lab, capture("http", case))


def _same(got: dict[str, Any], wanted: dict[str, Any]) -> bool:
    got, wanted = dict(got), dict(wanted)
    return bool(normal(got) == normal(wanted))


_SENDS = [name for name in captured("webhooks", "stub_send*") if not name.startswith(_GROUP_STATUS)]


@pytest.mark.parametrize("name", [name for name in _SENDS if name.endswith("send_message")])
def test_echo_of_a_send(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    lab.hook("lab-wa", receiver.url, headers={"X-Lab": "wa"})
    _provoke(lab, name.split("__")[0])
    wanted = capture("webhooks", name)
    got = receiver.wait("send.message")[0]
    body, expected = got.body, wanted["body"]
    if "ddd31" in name:
        body["data"]["message"] = expected["data"]["message"]
    assert normal(body) == normal(expected)
    _assert_same_headers(got.headers, wanted["headers"])


@pytest.mark.parametrize("name", [name for name in _SENDS if name.endswith("messages_update")])
def test_acks_of_a_send(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    for number in (_ANA, "551199000001", "5585990000001"):
        lab.control("POST", "customers", {"number": number, "server_ack": True})
    by_lid = {"number": "5511990000044", "lid": "123456789012345@lid", "server_ack": True}
    lab.control("POST", "customers", by_lid)
    lab.hook("lab-wa", receiver.url, headers={"X-Lab": "wa"})
    _provoke(lab, name.split("__")[0])
    wanted = capture("webhooks", name)["body"]
    got = [arrived.body for arrived in receiver.wait("messages.update", 3)]
    assert any(_same(body, wanted) for body in got)
    assert {body["data"]["status"] for body in got} == {"SERVER_ACK", "DELIVERY_ACK", "READ"}


def test_no_acks_for_groups(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.send("to the group", "120363000000000001@g.us")
    lab.send("to a person")
    receiver.wait("messages.update", 2)
    assert {data["remoteJid"] for data in receiver.data("messages.update")} == {f"{_ANA}@s.whatsapp.net"}


_LID = {"number": _ANA, "name": "Ana Test", "picture": None, "lid": "111111111111111@lid"}
_LID_ALONE = {"number": "5511990000033", "name": "Ana Test", "lid": "333333333333333@lid", "lid_alt": False}
_LID_ALONE["picture"] = "https://pps.example.com/333333333333333.jpg"
_SAYS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "wain_text_second": (None, {"text": "synthetic inbound 2", "key_id": "3A000000000000000002"}),
    "wain_text": (None, {"text": "synthetic inbound 1", "key_id": "3A000000000000000001"}),
    "wain_text_duplicate": (None, {"text": "synthetic inbound 1"}),
    "wain_append_offline": (None, {"text": "offline", "timestamp": 1795291000}),
    "wain_group_text": (
        None,
        {"text": "group text", "key_id": "3A000000000000000031", "group": "120363000000000001@g.us"},
    ),
    "wain_group_text_lid": (
        _LID | {"picture": "https://pps.example.com/111111111111111.jpg"},
        {"text": "group text lid", "key_id": "3A000000000000000032", "group": "120363000000000001@g.us"},
    ),
    "wain_lid_text": (_LID, {"text": "lid text", "key_id": "3A000000000000000033"}),
    "wain_lid_text_noalt": (_LID_ALONE, {"text": "lid text, no alt", "key_id": "3A000000000000000034"}),
}
_INBOUND = [name for name in captured("webhooks", "wain_*") if name.split("__")[0] in _SAYS]


@pytest.mark.parametrize("name", _INBOUND)
def test_inbound(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    who, said = _SAYS[name.split("__")[0]]
    number = who["number"] if who else _ANA
    if who:
        lab.control("POST", "customers", who)
    lab.hook("lab-wa", receiver.url)
    lab.control("POST", f"customers/{number}/say", {"instance": "lab-wa", **said})
    wanted = capture("webhooks", name)["body"]
    receiver.wait("messages.upsert")
    receiver.wait("contacts.update", 2)
    receiver.wait("chats.update")
    got = [arrived.body for arrived in receiver.of(wanted["event"])]
    assert normal(wanted) in [normal(body) for body in got]


def test_four_webhooks_per_inbound(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.control("POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "oi"})
    receiver.wait("contacts.update", 2)
    events = sorted(arrived.event for arrived in receiver.received)
    assert events == ["chats.update", "contacts.update", "contacts.update", "messages.upsert"]
    assert sorted(type(data).__name__ for data in receiver.data("contacts.update")) == ["dict", "list"]


@pytest.mark.parametrize("name", captured("webhooks", "wain_fromme_phone__*"))
def test_typed_on_the_phone(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    lab.sim.store.instances["lab-wa"].profile_name = "Lab Phone"
    lab.hook("lab-wa", receiver.url)
    said = {
        "instance": "lab-wa",
        "number": _ANA,
        "text": "typed on the phone",
        "key_id": "3A000000000000000035",
    }
    lab.control("POST", "phone/say", said)
    wanted = capture("webhooks", name)["body"]
    got = receiver.wait(wanted["event"])[0]
    assert normal(got.body) == normal(wanted)


@pytest.mark.parametrize("name", captured("webhooks", "wain_edited*", "wain_revoked*"))
def test_edits_in_the_senders_perspective(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    key_id = "3AEDIT0000000000001"
    lab.control("POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "v1", "key_id": key_id})
    lab.hook("lab-wa", receiver.url)
    change = {"instance": "lab-wa", "key_id": key_id} | ({"text": "v2"} if "wain_edited" in name else {})
    lab.control("POST", f"customers/{_ANA}/edit", change)
    wanted = capture("webhooks", name)["body"]
    assert normal(receiver.wait(wanted["event"])[0].body) == normal(wanted)
    if "wain_revoked" in name:
        revoked = receiver.wait("messages.delete")[0].body["data"]
        assert (revoked["fromMe"], revoked["id"]) == (False, key_id)


@pytest.mark.parametrize("reason", [401, 408])
def test_closing(lab: RunningSimulator, receiver: Receiver, reason: int) -> None:
    lab.hook("lab-wa", receiver.url)
    lab.control("POST", "instances/lab-wa/state", {"state": "close", "reason": reason})
    for name in captured("webhooks", f"wa_close_{reason}__*"):
        wanted = capture("webhooks", name)["body"]
        if (wanted["data"] or {}).get("state") == "open":
            lab.control("POST", "instances/lab-wa/state", {"state": "open"})
            lab.sim.store.instances["lab-wa"].profile_name = "Lab Phone"
            got = receiver.wait("connection.update", 2)[-1].body
            assert set(got["data"]) == set(wanted["data"])
            continue
        got = receiver.wait(wanted["event"])[0].body
        assert set(got) == set(wanted)
        if wanted["event"] == "status.instance":
            assert set(got["data"]) == set(wanted["data"])
        else:
            assert got["data"] == wanted["data"]


def test_delete_by_us(lab: RunningSimulator, receiver: Receiver) -> None:
    key = lab.send("v2 mine").json()["key"]
    lab.hook("lab-wa", receiver.url)
    lab.call("DELETE", "/chat/deleteMessageForEveryone/lab-wa", key)
    wanted = capture("webhooks", "stub_deleteMessage__0_messages_delete")["body"]
    assert normal(receiver.wait("messages.delete")[0].body) == normal(wanted)


def test_edit_by_us(lab: RunningSimulator, receiver: Receiver) -> None:
    key = lab.send("v1 mine").json()["key"]
    lab.hook("lab-wa", receiver.url)
    answer = lab.call("POST", "/chat/updateMessage/lab-wa", {"number": _ANA, "text": "v2 mine", "key": key})
    assert answer.status_code == 200, answer.text
    wanted = capture("webhooks", "stub_updateMessage__0_send_message_update")["body"]
    assert normal(receiver.wait("send.message.update")[0].body) == normal(wanted)


@pytest.mark.parametrize("name", ["in_text__0_messages_upsert", "in_text__1_chats_upsert"])
def test_injection_into_the_evolution_channel(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    lab.hook("lab-evo", receiver.url)
    replay(lab, capture("http", "in_text"))
    wanted = capture("webhooks", name)["body"]
    assert normal(receiver.wait(wanted["event"])[0].body) == normal(wanted)


def test_the_evolution_channel_does_not_deduplicate(lab: RunningSimulator, receiver: Receiver) -> None:
    lab.hook("lab-evo", receiver.url)
    for _ in range(2):
        replay(lab, capture("http", "in_text"))
    receiver.wait("messages.upsert", 2)
    receiver.wait("chats.update")


@pytest.mark.parametrize("name", ["byevents__send-message", "byevents__messages-upsert"])
def test_by_events_urls_and_a_signed_token(lab: RunningSimulator, receiver: Receiver, name: str) -> None:
    headers = {"X-Extra": "1", "jwt_key": "lab-jwt-secret"}
    lab.hook("lab-wa", receiver.url.replace("/ok", "/by"), byEvents=True, headers=headers)
    wanted = capture("webhooks", name)
    if "upsert" in name:
        lab.control(
            "POST", f"customers/{_ANA}/say", {"instance": "lab-wa", "text": "by events", "key_id": "BY-1"}
        )
    else:
        lab.send("by")
    got = receiver.wait(wanted["body"]["event"])[0]
    assert got.path == wanted["path"]
    token = wanted["headers"].pop("Authorization").split(".")[0]
    assert got.headers["Authorization"].startswith(token)
    _assert_same_headers(got.headers, wanted["headers"])


def _assert_same_headers(got: dict[str, str], wanted: dict[str, str]) -> None:
    for name in set(wanted) - {"Host", "Content-Length"}:
        assert got[name] == wanted[name]
