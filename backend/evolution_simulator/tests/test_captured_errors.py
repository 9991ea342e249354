"""Every recorded refusal, replayed: same status, same body."""

from __future__ import annotations

from typing import Any

import pytest

from .support import RunningSimulator, capture, captured, normal, replay

_NEEDS_FAULT = {
    "err_stub_sendText_closed_at_relay": {"preset": "E7"},
    "err_stub_sendText_timeout": {"preset": "E8"},
    "err_stub_sendText_onwa_timeout": {
        "accept": False,
        "answer": {
            "status": 500,
            "body": {
                "status": 500,
                "error": "Internal Server Error",
                "response": {"message": "Cannot read properties of undefined (reading 'find')"},
            },
        },
    },
}
_ELSEWHERE = {"err_stub_findMessages_after_timeout", "err_stub_findMessages_after_closed_at_relay"}
_ERRORS = [name for name in captured("http", "err_*") if name not in _ELSEWHERE]


def _check(running: RunningSimulator, name: str, key: str | None = None) -> None:
    case = capture("http", name)
    wanted = case["response"]
    answer = replay(running, case, key) if key else replay(running, case)
    assert (answer.status_code, normal(answer.json())) == (wanted["status"], normal(wanted["body"]))
    for header in ("X-Powered-By", "Vary", "Content-Type", "Keep-Alive"):
        assert answer.headers[header] == wanted["headers"][header]


@pytest.mark.parametrize("name", [name for name in _ERRORS if "close_" in name and "stub" not in name])
def test_never_connected(lab: RunningSimulator, name: str) -> None:
    _check(lab, name)


@pytest.mark.parametrize("name", [name for name in _ERRORS if "connecting_" in name])
def test_connecting(lab: RunningSimulator, name: str) -> None:
    lab.control("POST", "instances/lab-baileys/state", {"state": "connecting"})
    _check(lab, name)


_GENERAL = [n for n in _ERRORS if not n.startswith(("err_close", "err_connecting", "err_stub"))]


@pytest.mark.parametrize("name", _GENERAL)
def test_general(lab: RunningSimulator, name: str) -> None:
    _check(lab, name, "wrong" if "badkey" in name else None)


@pytest.mark.parametrize("name", [name for name in _ERRORS if name.startswith("err_stub")])
def test_on_an_open_instance(lab: RunningSimulator, name: str) -> None:
    _prepare(lab, name)
    if name == "err_stub_sendMedia_base64_too_big":
        case = capture("http", name)
        body: dict[str, Any] = {**case["request"]["body"], "media": "A" * 10_000_000}
        answer = lab.call("POST", case["request"]["path"], body)
        assert (answer.status_code, answer.json()) == (500, case["response"]["body"])
        return
    _check(lab, name)


def _prepare(lab: RunningSimulator, name: str) -> None:
    if name in _NEEDS_FAULT:
        lab.fault(**_NEEDS_FAULT[name], times=1)
    if name == "err_stub_delete_closed":
        lab.control("POST", "instances/lab-wa/state", {"state": "close"})
    image = {"imageMessage": {"url": "https://mmg.whatsapp.net/v/t62/x", "mediaKey": {"0": 1}}}
    said = {"instance": "lab-wa", "key_id": "3A000000000000000007", "message": image}
    if name == "err_stub_getBase64_downloadfail":
        lab.control("POST", "customers/5511990000001/say", said)
    if name == "err_stub_getBase64_text":
        text = {"instance": "lab-wa", "key_id": "3EB0E470E74A9A6F12090F", "text": "x"}
        lab.control("POST", "customers/5511990000001/say", text)


def test_the_body_is_read_before_the_instance_is_looked_up(lab: RunningSimulator) -> None:
    answer = lab.http.post(
        "/message/sendText/ghost", content="{", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"] == "Internal Server Error"
    assert isinstance(answer.json()["response"]["message"], str)


def test_a_wrong_key_is_noticed_before_a_wrong_body(lab: RunningSimulator) -> None:
    assert lab.call("POST", "/message/sendText/lab-wa", {}, key="lab-evo-token").status_code == 401
    assert lab.call("POST", "/message/sendText/lab-wa", {}, key="lab-wa-token").status_code == 400


def test_a_body_above_the_limit_is_413() -> None:
    running = RunningSimulator(body_limit=1000)
    try:
        answer = running.call("POST", "/message/sendText/ghost", {"text": "x" * 1000})
    finally:
        running.stop()
    assert answer.status_code == 413
    body = {"status": 413, "error": "Internal Server Error"}
    assert answer.json() == {**body, "response": {"message": "request entity too large"}}
