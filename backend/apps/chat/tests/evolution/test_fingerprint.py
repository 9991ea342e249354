from typing import Any

import pytest

from apps.chat.evolution.events import MessageEvent, message_from_record, parse
from apps.chat.evolution.fingerprint import fingerprint, fingerprint_of_record

from .conftest import load_capture


def echo_of(text: str, **message: Any) -> MessageEvent:
    body = {
        "event": "send.message",
        "instance": "i",
        "data": {
            "key": {"id": "3EB0", "remoteJid": "5511990000001@s.whatsapp.net", "fromMe": True},
            "message": message or {"conversation": text},
            "messageType": next(iter(message), "conversation"),
        },
    }
    [event] = parse(body)
    assert isinstance(event, MessageEvent)
    return event


@pytest.mark.parametrize(
    ("capture", "text"),
    [
        ("stub_sendText__0_send_message", "synthetic outbound 1"),
        ("biz_sendText__0_send_message", "cloud hello"),
    ],
)
def test_our_text_and_its_captured_echo_agree(capture: str, text: str) -> None:
    [event] = parse(load_capture("webhooks", capture)["body"])
    assert isinstance(event, MessageEvent)
    assert fingerprint_of_record(event) == fingerprint("text", text=text)


@pytest.mark.parametrize("capture", ["evo_sendText", "evo_sendText_unicode", "evo_sendText_quoted"])
def test_our_text_and_the_evolution_channels_answer_agree(capture: str) -> None:
    exchange = load_capture("http", capture)
    record = message_from_record(exchange["response"]["body"])
    assert record is not None
    assert fingerprint_of_record(record) == fingerprint("text", text=exchange["request"]["body"]["text"])


def test_our_text_and_its_stored_row_agree() -> None:
    page = load_capture("http", "stub_findMessages_6s_after_client_timeout")["response"]["body"]["messages"]
    record = message_from_record(page["records"][0])
    assert record is not None
    assert fingerprint_of_record(record) == fingerprint("text", text="unique-token-7f3a")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (" hello\n", "hello"),
        ("a\r\nb", "a\nb"),
        ("ac\u0327a\u0303o", "ação"),
        ("\ufeff x \ufeff", "x"),
    ],
)
def test_what_the_way_may_change_does_not_count(ours: str, theirs: str) -> None:
    assert fingerprint("text", text=ours) == fingerprint_of_record(echo_of(theirs))


@pytest.mark.parametrize(("one", "other"), [("a b", "a  b"), ("A", "a"), ("a\nb", "a b"), ("a", "a\u200b")])
def test_words_that_differ_for_a_reader_differ(one: str, other: str) -> None:
    assert fingerprint("text", text=one) != fingerprint("text", text=other)


def test_extended_text_counts_as_text() -> None:
    event = echo_of("", extendedTextMessage={"text": "see https://example.com"})
    assert fingerprint_of_record(event) == fingerprint("text", text="see https://example.com")


def test_a_reaction_is_its_emoji_and_target() -> None:
    [event] = parse(load_capture("webhooks", "stub_sendReaction__0_send_message")["body"])
    assert isinstance(event, MessageEvent)
    assert fingerprint_of_record(event) == fingerprint(
        "reaction", emoji="👍", target_id="3AEDIT0000000000001"
    )
    assert fingerprint_of_record(event) != fingerprint("reaction", emoji="", target_id="3AEDIT0000000000001")


def test_a_document_is_its_caption_and_name_and_an_image_its_caption_only() -> None:
    [document] = parse(load_capture("webhooks", "stub_sendMedia_document__0_send_message")["body"])
    [image] = parse(load_capture("webhooks", "stub_sendMedia_image__0_send_message")["body"])
    assert isinstance(document, MessageEvent)
    assert isinstance(image, MessageEvent)
    ours = fingerprint("media", mediatype="document", caption="doc", file_name="r.pdf")
    assert fingerprint_of_record(document) == ours
    ours = fingerprint("media", mediatype="image", caption="a dot", file_name="dropped-on-the-way.png")
    assert fingerprint_of_record(image) == ours


def test_parts_do_not_run_together() -> None:
    assert fingerprint("edit", text="ab", target_id="c") != fingerprint("edit", text="a", target_id="bc")
    assert fingerprint("delete", target_id="a") != fingerprint("text", text="a")


def test_an_unknown_kind_or_field_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="Unknown kind"):
        fingerprint("poll", text="x")
    with pytest.raises(ValueError, match="no field"):
        fingerprint("text", body="x")


def test_it_is_32_hex_digits_and_stable() -> None:
    assert fingerprint("text", text="hello") == "b8d38fe3cb42386678132f8e898802db"
