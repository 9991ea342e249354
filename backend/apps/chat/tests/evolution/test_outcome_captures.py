"""Every error a real server gave to a send, classified."""

import pytest

from apps.chat.evolution.outcomes import Verdict, classify_answer

from .conftest import CAPTURES, load_capture

REJECTED, NO_METHOD = "not_sent body_rejected", "not_sent method_unavailable"
CLOSED, NOT_LOADED = "not_sent connection_closed", "not_sent instance_not_loaded"
AFTER, MEDIA = "unclear failed_after_send", "not_sent media_refused"

EXPECTED = {
    "err_array_body": REJECTED,
    "err_biz_sendPoll": NO_METHOD,
    "err_biz_sendSticker": NO_METHOD,
    "err_biz_sendText_graph_500": AFTER,
    "err_biz_sendText_graph_drop": AFTER,
    "err_biz_sendText_graph_err": "not_sent meta_refused",
    "err_biz_sendText_graph_unreachable": AFTER,
    "err_close_sendButtons_missing": REJECTED,
    "err_close_sendContact": NOT_LOADED,
    "err_close_sendMedia_url_unreachable": "not_sent media_fetch_failed",
    "err_close_sendPoll": NOT_LOADED,
    "err_close_sendStatus": AFTER,
    "err_close_sendSticker": NOT_LOADED,
    "err_close_sendText": NOT_LOADED,
    "err_close_sendText_lid": AFTER,
    "err_close_sendWhatsAppAudio": NOT_LOADED,
    "err_connecting_sendButtons": CLOSED,
    "err_connecting_sendButtons_missing": REJECTED,
    "err_connecting_sendContact": CLOSED,
    "err_connecting_sendList": CLOSED,
    "err_connecting_sendLocation": CLOSED,
    "err_connecting_sendMedia": CLOSED,
    "err_connecting_sendMedia_badimage": MEDIA,
    "err_connecting_sendReaction": CLOSED,
    "err_connecting_sendStatus": AFTER,
    "err_connecting_sendSticker": CLOSED,
    "err_connecting_sendText": CLOSED,
    "err_connecting_sendText_group": "not_sent group_unreachable",
    "err_connecting_sendText_lid": AFTER,
    "err_connecting_sendWhatsAppAudio": CLOSED,
    "err_evo_sendList": NO_METHOD,
    "err_evo_sendReaction": NO_METHOD,
    "err_evo_sendReaction_remove": NO_METHOD,
    "err_evo_sendStatus": NO_METHOD,
    "err_evo_sendSticker": NO_METHOD,
    "err_evo_sendText_nul": AFTER,
    "err_evo_sendWhatsAppAudio_b64": MEDIA,
    "err_sendLocation_noname": REJECTED,
    "err_sendMedia_datauri": MEDIA,
    "err_sendMedia_doc_b64_noname": MEDIA,
    "err_sendMedia_docker_host_url": MEDIA,
    "err_sendMedia_localhost_url": MEDIA,
    "err_sendMedia_sticker_type": REJECTED,
    "err_sendPoll_onevalue": REJECTED,
    "err_sendText_delay_float": REJECTED,
    "err_sendText_legacy_v1": REJECTED,
    "err_sendText_notext": REJECTED,
    "err_sendText_number_int": REJECTED,
    "err_sendText_textnum": REJECTED,
    "err_sendText_two_errors": REJECTED,
    "err_sendWhatsAppAudio_badsrc": MEDIA,
    "err_stub_sendMedia_base64_too_big": "not_sent media_too_large_inline",
    "err_stub_sendText_closed_at_relay": "unclear connection_lost_in_send",
    "err_stub_sendText_onwa_timeout": "not_sent lookup_timed_out",
    "err_stub_sendText_timeout": "unclear timed_out",
    "err_unknown_instance_send": "not_sent instance_missing",
    "evo_sendText_quoted_nokey": REJECTED,
    "stub_sendButtons_empty": "unclear unexplained_answer",
    "stub_sendText_group_missing": "not_sent group_unreachable",
    "stub_sendText_notexists": "not_sent not_on_whatsapp",
}


def classified(name: str) -> str:
    exchange = load_capture("http", name)
    request, response = exchange["request"], exchange["response"]
    body = request["body"] if isinstance(request["body"], dict) else {}
    to_group = str(body.get("number")).endswith("@g.us")
    outcome = classify_answer(response["status"], response["body"], request["path"], to_group=to_group)
    return f"{outcome.verdict} {outcome.reason}"


@pytest.mark.parametrize("name", EXPECTED)
def test_captured_error(name: str) -> None:
    assert classified(name) == EXPECTED[name]


def test_no_captured_error_is_forgotten() -> None:
    sends = {path.stem for path in (CAPTURES / "http").glob("err_*send*.json")}
    assert sends <= EXPECTED.keys()


@pytest.mark.parametrize(
    "name", ["evo_sendText", "stub_sendText", "stub_sendText_lid", "biz_sendText", "stub_sendReaction"]
)
def test_captured_success(name: str) -> None:
    exchange = load_capture("http", name)
    body = exchange["response"]["body"]
    outcome = classify_answer(exchange["response"]["status"], body, exchange["request"]["path"])
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.provider_id == body["key"]["id"]
    assert outcome.remote_jid == body["key"]["remoteJid"]
    assert outcome.provider_time == body["messageTimestamp"]


def test_restart_of_a_closed_instance_is_a_failure_with_status_200() -> None:
    assert classified("err_close_restart") == "not_sent instance_action_failed"
    assert classified("stub_restart_open") == "accepted accepted"
