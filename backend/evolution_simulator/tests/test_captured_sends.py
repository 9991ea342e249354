"""Every recorded send, replayed on an open Baileys or an EVOLUTION instance."""

from __future__ import annotations

import threading

import pytest

from .support import API_KEY, RunningSimulator, capture, captured, normal, replay

_STATEFUL = {"stub_sendText_quoted", "stub_sendWhatsAppAudio_multipart"}
_BAILEYS = [n for n in captured("http", "stub_send*", "stub_number_*") if n not in _STATEFUL]
_EVOLUTION = captured("http", "evo_sendText*", "evo_sendMedia*", "evo_sendWhats*", "err_form_body")


def _assert_same(running: RunningSimulator, name: str) -> None:
    case = capture("http", name)
    wanted = case["response"]
    answer = replay(running, case)
    assert (answer.status_code, normal(answer.json())) == (wanted["status"], normal(wanted["body"]))


@pytest.mark.parametrize("name", _BAILEYS)
def test_baileys(lab: RunningSimulator, name: str) -> None:
    _assert_same(lab, name)


@pytest.mark.parametrize("name", [name for name in _EVOLUTION if "image_url" not in name])
def test_evolution(lab: RunningSimulator, name: str) -> None:
    if name == "evo_sendText_after_logout":
        lab.call("DELETE", "/instance/logout/lab-evo2")
    _assert_same(lab, name)


def test_a_quote_of_a_known_message_carries_it(lab: RunningSimulator) -> None:
    first = lab.send("synthetic outbound 1").json()["key"]["id"]
    case = capture("http", "stub_sendText_quoted")
    case["request"]["body"]["quoted"]["key"]["id"] = first
    answer = replay(lab, case).json()
    wanted = case["response"]["body"]
    assert answer["contextInfo"].pop("stanzaId") == first
    wanted["contextInfo"].pop("stanzaId")
    assert normal(answer) == normal(wanted)


def test_the_answer_is_held_for_the_delay(lab: RunningSimulator) -> None:
    body = {"number": "5511990000001", "text": "typed", "delay": 300}
    answer = lab.call("POST", "/message/sendText/lab-wa", body)
    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() >= 0.3


def test_nothing_is_idempotent(lab: RunningSimulator) -> None:
    ids = {lab.send("same").json()["key"]["id"] for _ in range(3)}
    assert len(ids) == 3
    assert len(lab.accepted(instance="lab-wa")) == 3


def test_an_instance_that_closes_while_typing_fails_at_the_last_step(lab: RunningSimulator) -> None:
    lab.control("POST", "customers", {"number": "5511990000001"})
    closing = threading.Timer(
        0.1, lambda: lab.control("POST", "instances/lab-wa/state", {"state": "connecting"})
    )
    closing.start()
    body = {"number": "5511990000001", "text": "typed", "delay": 500}
    answer = lab.call("POST", "/message/sendText/lab-wa", body)
    closing.join()
    assert answer.status_code == 400
    assert answer.json()["response"]["message"] == ["Error: Connection Closed"]
    assert lab.accepted() == []


def test_media_is_fetched_from_its_url(lab: RunningSimulator) -> None:
    missing = f"{lab.url}/instance/nothing.png"
    body = {"number": "5511990000001", "mediatype": "image", "media": missing}
    answer = lab.call("POST", "/message/sendMedia/lab-wa", body)
    assert answer.status_code == 500
    assert answer.json()["response"]["message"] == ["AxiosError: Request failed with status code 404"]


def test_a_file_in_a_multipart_body_can_be_downloaded_again(lab: RunningSimulator) -> None:
    fields = {"number": "5511990000001", "mediatype": "document", "fileName": "r.pdf"}
    files = {"file": ("r.pdf", b"%PDF-1.4 \r\n--x synthetic", "application/pdf")}
    answer = lab.http.post("/message/sendMedia/lab-wa", data=fields, files=files, headers={"apikey": API_KEY})
    assert answer.status_code == 201, answer.text
    asked = {"message": {"key": {"id": answer.json()["key"]["id"]}}}
    got = lab.call("POST", "/chat/getBase64FromMediaMessage/lab-wa", asked)
    assert got.status_code == 201
    assert got.json()["fileName"] == "r.pdf"
    assert got.json()["base64"] == "JVBERi0xLjQgDQotLXggc3ludGhldGlj"


def test_a_voice_message_by_multipart(lab: RunningSimulator) -> None:
    wanted = capture("http", "stub_sendWhatsAppAudio_multipart")["response"]["body"]
    fields, files = {"number": "5511990000001"}, {"file": ("a.ogg", b"OggS\r\n\0", "audio/ogg")}
    path, headers = "/message/sendWhatsAppAudio/lab-wa", {"apikey": API_KEY}
    answer = lab.http.post(path, data=fields, files=files, headers=headers)
    assert normal(answer.json()) == normal(wanted)


def test_a_delay_in_a_multipart_body_is_refused(lab: RunningSimulator) -> None:
    fields = {"number": "5511990000001", "mediatype": "document", "delay": "10"}
    files = {"file": ("r.pdf", b"%PDF", "application/pdf")}
    answer = lab.http.post("/message/sendMedia/lab-wa", data=fields, files=files, headers={"apikey": API_KEY})
    assert answer.json()["response"]["message"] == [["Enter a value in milliseconds"]]
