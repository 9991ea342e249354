"""One row of the failure list, one test id."""

import json
from typing import Any

import pytest

from apps.chat.evolution.outcomes import (
    REASONS,
    Answer,
    Outcome,
    Verdict,
    classify,
    classify_answer,
    classify_transport_error,
)
from apps.chat.evolution.rules import RULES

NO, MAYBE = Verdict.NOT_SENT, Verdict.UNCLEAR


def error(status: int, message: object, name: str = "Bad Request") -> dict[str, object]:
    return {"status": status, "error": name, "response": {"message": message}}


def text(status: int, message: object, name: str = "Internal Server Error", **more: Any) -> Outcome:
    return classify_answer(status, error(status, message, name), "sendText", **more)


def media(status: int, message: object, name: str = "Internal Server Error") -> Outcome:
    return classify_answer(status, error(status, message, name), "sendMedia")


UNDEFINED = "Cannot read properties of undefined (reading '{}')"
ON_WHATSAPP = {"jid": "5500990000001@s.whatsapp.net", "exists": False, "number": "5500990000001"}

ROWS = {
    "E1": (text(400, [['instance requires property "text"']]), NO, "body_rejected", {"permanent", "alert"}),
    "E1-group-routes": (
        text(400, [{"property": "groupJid", "message": "x"}]),
        NO,
        "body_rejected",
        {"permanent", "alert"},
    ),
    "E2": (text(400, [ON_WHATSAPP]), NO, "not_on_whatsapp", {"permanent"}),
    "E3-text": (text(400, ["Text is required"]), NO, "body_rejected", {"permanent", "alert"}),
    "E3-url": (media(400, ["Owned media must be a url or base64"]), NO, "media_refused", {"permanent"}),
    "E3-name": (
        media(400, ["For base64 the file name must be informed."]),
        NO,
        "media_refused",
        {"permanent"},
    ),
    "E3-channel": (
        text(400, ["Method not available on Evolution Channel"]),
        NO,
        "method_unavailable",
        {"permanent"},
    ),
    "E4": (text(500, "Connection Closed"), NO, "connection_closed", {"park"}),
    "E5": (text(500, "Timed Out"), NO, "lookup_timed_out", set()),
    "E5-as-seen": (text(500, UNDEFINED.format("find")), NO, "lookup_timed_out", set()),
    "E6": (media(500, ["Error: Connection Closed"]), NO, "connection_closed", {"park"}),
    "E7": (text(400, ["Error: Connection Closed"]), MAYBE, "connection_lost_in_send", {"park"}),
    "E8": (text(400, ["Error: Timed Out"]), MAYBE, "timed_out", set()),
    "E9": (text(400, ["SessionError: No sessions"], to_group=True), NO, "no_sessions", set()),
    "E9-person": (text(400, ["SessionError: No sessions"]), MAYBE, "unexplained_answer", set()),
    "E10-text": (text(400, ["Error: rate-overlimit"]), NO, "rate_limited", {"throttle"}),
    "E10-string": (text(500, "rate-overlimit"), NO, "rate_limited", {"throttle"}),
    "E10-status": (text(429, "slow down"), NO, "rate_limited", {"throttle"}),
    "E11": (text(400, ["[object Object]"], to_group=True), NO, "group_unreachable", set()),
    "E11-person": (text(400, ["[object Object]"]), MAYBE, "unexplained_answer", set()),
    "E12-prisma": (text(400, ["PrismaClientKnownRequestError: x"]), MAYBE, "failed_after_send", set()),
    "E12-type": (text(400, ["TypeError: x"]), MAYBE, "failed_after_send", set()),
    "E12-quoting": (
        text(400, ["PrismaClientValidationError: rate-overlimit"]),
        MAYBE,
        "failed_after_send",
        set(),
    ),
    "E13": (text(500, UNDEFINED.format("onWhatsApp")), NO, "instance_not_loaded", {"park", "alert"}),
    "E13-media": (
        media(500, ["TypeError: " + UNDEFINED.format("waUploadToServer")]),
        NO,
        "instance_not_loaded",
        {"park", "alert"},
    ),
    "E14-string": (media(500, "Media upload failed on all hosts"), NO, "media_upload_failed", set()),
    "E14-list": (media(500, ["Error: Media upload failed on all hosts"]), NO, "media_upload_failed", set()),
    "E15": (media(500, "Maximum call stack size exceeded"), NO, "media_too_large_inline", {"permanent"}),
    "E16-axios": (
        media(500, ["AxiosError: Request failed with status code 403"]),
        NO,
        "media_fetch_failed",
        set(),
    ),
    "E16-404": (media(404, "Request failed with status code 404"), NO, "media_fetch_failed", set()),
    "E16-403": (media(403, "Request failed with status code 403"), NO, "media_fetch_failed", set()),
    "E16-text": (text(404, "Request failed with status code 404"), MAYBE, "unexplained_answer", set()),
    "E17-gone": (
        text(404, ['The "x" instance does not exist'], "Not Found"),
        NO,
        "instance_missing",
        {"park", "alert"},
    ),
    "E17-url": (
        text(404, ["Cannot POST /api/message/sendText/x"], "Not Found"),
        NO,
        "wrong_base_url",
        {"park", "alert"},
    ),
    "E18": (text(401, "Unauthorized", "Unauthorized"), NO, "unauthorized", set()),
    "E18-forbidden": (text(403, "Forbidden", "Forbidden"), NO, "forbidden", {"park", "alert"}),
    "E19": (text(413, "request entity too large"), NO, "too_large", {"permanent"}),
    "E20-502": (classify_answer(502, None, "sendText"), MAYBE, "gateway_error", set()),
    "E20-504": (classify_answer(504, None, "sendText"), MAYBE, "gateway_error", set()),
    "E21": (classify_transport_error("ConnectError", bytes_left=False), NO, "connect_failed", set()),
    "E21-dns": (classify_transport_error("ConnectTimeout", bytes_left=False), NO, "connect_failed", set()),
    "E22-timeout": (classify_transport_error("ReadTimeout", bytes_left=True), MAYBE, "read_timeout", set()),
    "E22-reset": (classify_transport_error("ReadError", bytes_left=True), MAYBE, "reset_after_write", set()),
    "E22-closed": (
        classify_transport_error("RemoteProtocolError", bytes_left=True),
        MAYBE,
        "reset_after_write",
        set(),
    ),
    "E26-connect": (
        classify_answer(200, {"error": True, "message": "[object Object]"}, "connect"),
        NO,
        "instance_action_failed",
        {"alert"},
    ),
    "E26-restart": (
        classify_answer(200, {"error": True}, "/instance/restart/x"),
        NO,
        "instance_action_failed",
        {"alert"},
    ),
}
FLAGS = ("permanent", "park", "throttle", "alert")


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    outcome, verdict, reason, flags = ROWS[row]
    assert (outcome.verdict, outcome.reason) == (verdict, reason)
    assert {flag for flag in FLAGS if getattr(outcome, flag)} == flags
    assert reason in REASONS


def test_every_row_up_to_e22_and_e26_has_a_test() -> None:
    named = {row.split("-")[0] for row in ROWS}
    assert named >= {f"E{n}" for n in range(1, 23)} | {"E26"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.row}-{rule.then.reason}")
def test_every_rule_has_a_reason_and_claims_no_success(rule: Any) -> None:
    assert rule.then.reason in REASONS
    assert rule.then.verdict is not Verdict.ACCEPTED


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_speak_two_languages(reason: str) -> None:
    english, portuguese = REASONS[reason]
    assert english.endswith(".")
    assert portuguese.endswith(".")
    assert english != portuguese


GOOD = {"key": {"id": "3EB0", "remoteJid": "5511990000001@s.whatsapp.net"}, "messageTimestamp": "1795291445"}


def test_201_with_an_id_is_accepted() -> None:
    outcome = classify_answer(201, GOOD, "/message/sendText/x")
    assert outcome.verdict is Verdict.ACCEPTED
    assert (outcome.provider_id, outcome.remote_jid) == ("3EB0", "5511990000001@s.whatsapp.net")
    assert outcome.provider_time == 1795291445


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        "ok",
        {"key": None},
        {"key": {}},
        {"key": {"id": ""}},
        {"key": {"id": 5}},
        {"key": {"id": " "}},
        {"message": "x"},
    ],
    ids=json.dumps,
)
def test_201_without_an_id_is_unclear(body: object) -> None:
    assert classify_answer(201, body, "sendText").verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    "status", [200, 202, 204, 302, 303, 400, 402, 404, 405, 408, 409, 418, 500, 501, 503, 520, 599]
)
@pytest.mark.parametrize(
    "body", [None, "<html>", {}, [], {"response": {"message": []}}, {"response": {"message": ["what?"]}}]
)
def test_what_nobody_explained_is_unclear(status: int, body: object) -> None:
    assert classify_answer(status, body, "sendText").verdict is Verdict.UNCLEAR


def test_200_with_an_id_is_no_success_of_a_send_but_of_an_edit() -> None:
    assert classify_answer(200, GOOD, "sendText").verdict is Verdict.UNCLEAR
    assert classify_answer(200, GOOD, "updateMessage").verdict is Verdict.ACCEPTED


def test_a_permanent_redirect_is_a_wrong_address_and_a_see_other_unclear() -> None:
    assert classify_answer(308, None, "sendText").reason == "wrong_base_url"
    assert classify_answer(303, None, "sendText").verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("code", "verdict", "reason"),
    [
        (131030, NO, "meta_refused"),
        (131047, NO, "meta_refused"),
        (130429, NO, "rate_limited"),
        (131056, NO, "rate_limited"),
        (190, NO, "unauthorized"),
        (131000, MAYBE, "unexplained_answer"),
    ],
)
def test_metas_error_inside_a_201(code: int, verdict: Verdict, reason: str) -> None:
    body = {"message": f"(#{code}) x", "type": "OAuthException", "code": code, "fbtrace_id": "SYN"}
    outcome = classify_answer(201, body, "sendText")
    assert (outcome.verdict, outcome.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("status", "wait"),
    [(429, 120.0), (401, 120.0), (502, 120.0), (413, None)],
    ids=["429", "401", "502", "413"],
)
def test_retry_after_is_kept_where_a_retry_follows(status: int, wait: float | None) -> None:
    assert classify_answer(status, None, "sendText", retry_after=120).wait == wait


def test_throttling_waits_a_minute_at_least_and_an_hour_at_most() -> None:
    assert classify_answer(429, None, "sendText").wait == 60
    assert classify_answer(429, None, "sendText", retry_after=1).wait == 60
    assert classify_answer(429, None, "sendText", retry_after=1e9).wait == 3600


@pytest.mark.parametrize(
    "kind", ["PoolTimeout", "Fenced", "Cancelled", "InvalidURL", "ReadError", "AnythingNew"]
)
def test_nothing_left_is_not_sent_and_anything_left_is_unclear(kind: str) -> None:
    assert classify_transport_error(kind, bytes_left=False).verdict is Verdict.NOT_SENT
    assert classify_transport_error(kind, bytes_left=True).verdict is Verdict.UNCLEAR
    assert classify_transport_error(kind, bytes_left=False).reason in REASONS
    assert classify_transport_error(kind, bytes_left=True).reason in REASONS


def test_an_answer_object_goes_the_same_way() -> None:
    assert classify(Answer(201, GOOD, "sendText")).provider_id == "3EB0"
    assert (
        classify(Answer(None, None, "sendText", "ConnectError"), bytes_left=False).reason == "connect_failed"
    )


def test_details_hide_numbers_paths_and_messages() -> None:
    said = "Error: ENOENT /home/app/dist/store.json for +55 (85) 99000-0001"
    detail = text(400, [said]).detail
    assert detail is not None
    assert "99000" not in detail
    assert "store.json" not in detail
    quoting = "PrismaClientValidationError: Invalid `create()` data: {conversation: 'my secret'}"
    assert text(400, [quoting]).detail == "PrismaClientValidationError"
    assert text(500, "\nInvalid `this.prisma.message.create()` 'my secret'").detail == "Invalid"
