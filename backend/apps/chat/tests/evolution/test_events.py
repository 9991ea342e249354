from typing import Any

import pytest

from apps.chat.evolution.events import (
    ConnectionEvent,
    DeleteEvent,
    EditEvent,
    Event,
    IgnoredEvent,
    MessageEvent,
    StatusEvent,
    message_from_record,
    parse,
)

from .conftest import CAPTURES, load_capture

ANA = "5511990000001@s.whatsapp.net"


def captured(name: str) -> Event:
    [event] = parse(load_capture("webhooks", name)["body"])
    return event


def message(name: str) -> MessageEvent:
    event = captured(name)
    assert isinstance(event, MessageEvent)
    return event


def upsert(event: str = "messages.upsert", sender: str | None = None, **data: Any) -> dict[str, Any]:
    return {"event": event, "instance": "i", "sender": sender, "data": data}


@pytest.mark.parametrize("name", sorted(path.stem for path in (CAPTURES / "webhooks").glob("*.json")))
def test_every_capture_is_understood(name: str) -> None:
    for event in parse(load_capture("webhooks", name)["body"]):
        assert event.source_event
        if isinstance(event, IgnoredEvent):
            assert not event.why.startswith("malformed")
        else:
            assert event.instance_name


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("wain_text_second__2_messages_upsert", "text", "synthetic inbound 2"),
        ("wain_ephemeral__2_messages_upsert", "text", "vanishing"),
        ("wain_video__2_messages_upsert", "video", "vid"),
        ("wain_audio_ptt__2_messages_upsert", "voice", None),
        ("wain_document__2_messages_upsert", "document", "r.pdf"),
        ("wain_document_caption__2_messages_upsert", "document", "doc cap"),
        ("wain_contact__2_messages_upsert", "contact", "Bob Test"),
        ("wain_location__2_messages_upsert", "location", "Place"),
        ("wain_live_location__2_messages_upsert", "location", None),
        ("wain_poll__2_messages_upsert", "poll", "Q?"),
        ("wain_buttons_response__2_messages_upsert", "choice", "Yes"),
        ("wain_list_response__2_messages_upsert", "choice", "r"),
        ("wain_template_button_reply__2_messages_upsert", "choice", "Yes"),
        ("wain_interactive_response__2_messages_upsert", "choice", "Yes"),
        ("wain_viewonce__2_messages_upsert", "view_once", None),
        ("wain_event_unknown_type__2_messages_upsert", "unknown", "Party"),
        ("in_image__0_messages_upsert", "image", "photo"),
        ("in_text_notype__0_messages_upsert", "text", "no type"),
        ("biz_in_image__1_messages_upsert", "image", "cap"),
        ("biz_sendMedia_url__0_send_message", "image", "c"),
        ("stub_sendButtons_reply__0_send_message", "interactive", "*T*\n\nD\n"),
    ],
)
def test_kinds_and_words(name: str, kind: str, words: str | None) -> None:
    event = message(name)
    assert event.kind == kind
    assert (event.text if kind == "text" else event.caption) == words
    assert kind == "text" or event.text is None


def test_a_customers_text() -> None:
    assert message("wain_quoted__2_messages_upsert") == MessageEvent(
        instance_name="lab-wa",
        source_event="messages.upsert",
        key_id="3A000000000000000005",
        remote_jid=ANA,
        alt_jids=(),
        from_me=False,
        participant=None,
        push_name="Ana Test",
        kind="text",
        text="replying",
        quoted_id="3A000000000000000001",
        timestamp=1795291502,
        status=3,
        message_type="conversation",
        from_phone=False,
    )


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("biz_in_text_quoted__0_messages_upsert", "wamid.SYN00001"),
        ("stub_sendText_quoted_full__0_send_message", "EXT1"),
        ("wain_list_response__2_messages_upsert", "3EB0LIST"),
        ("wain_text_second__2_messages_upsert", None),
    ],
)
def test_quotes(name: str, quoted: str | None) -> None:
    assert message(name).quoted_id == quoted


def test_own_sends_and_the_phone_are_told_apart() -> None:
    assert message("wain_fromme_phone__1_messages_upsert").from_phone
    assert message("in_fromme__0_messages_upsert").from_phone
    echo = message("stub_sendText__0_send_message")
    assert echo.from_me
    assert not echo.from_phone
    assert echo.status == 1


def test_a_reaction_has_its_target() -> None:
    reaction = message("wain_reaction__1_messages_upsert")
    assert (reaction.kind, reaction.emoji, reaction.target_id) == ("reaction", "👍", "3EB0AAAA")
    assert message("stub_sendReaction_remove__0_send_message").emoji == ""


def test_lid_and_its_phone() -> None:
    assert message("wain_lid_text__2_messages_upsert").alt_jids == (ANA,)
    assert message("wain_lid_text_noalt__2_messages_upsert").alt_jids == ()


def test_in_a_group_the_alternate_is_the_authors() -> None:
    event = message("wain_group_text_lid__2_messages_upsert")
    assert event.participant == "111111111111111@lid"
    assert event.alt_jids == (ANA,)


@pytest.mark.parametrize(
    ("key", "alternates"),
    [
        ({"senderPn": ANA, "remoteJid": "1@lid"}, (ANA,)),
        ({"senderPn": ANA, "remoteJid": "1@lid", "fromMe": True}, ()),
        ({"remoteJidAlt": ANA, "senderPn": ANA, "remoteJid": "1@lid"}, (ANA,)),
        ({"participantPn": ANA, "participant": "1@lid", "remoteJid": "12036300@g.us"}, (ANA,)),
        ({"remoteJidAlt": ANA, "participant": "1@lid", "remoteJid": "12036300@g.us"}, ()),
        ({"remoteJidAlt": "12036300@g.us", "remoteJid": "1@lid"}, ()),
        ({"remoteJidAlt": "5511900000000@s.whatsapp.net", "remoteJid": "1@lid"}, ()),
        ({"remoteJidAlt": 7, "remoteJid": "1@lid"}, ()),
    ],
)
def test_alternates_are_only_the_persons_own(key: dict[str, Any], alternates: tuple[str, ...]) -> None:
    [event] = parse(upsert(key={"id": "A", **key}, sender="5511900000000:3@s.whatsapp.net"))
    assert isinstance(event, MessageEvent)
    assert event.alt_jids == alternates


@pytest.mark.parametrize(
    ("status", "rank", "error", "deleted"),
    [
        ("PENDING", 1, False, False),
        ("SERVER_ACK", 2, False, False),
        ("SENT", 2, False, False),
        ("DELIVERY_ACK", 3, False, False),
        ("DELIVERED", 3, False, False),
        ("READ", 4, False, False),
        ("PLAYED", 4, False, False),
        (3, 3, False, False),
        (0, None, True, False),
        ("ERROR", None, True, False),
        ("FAILED", None, True, False),
        ("DELETED", None, False, True),
    ],
)
def test_statuses(status: object, rank: int | None, error: bool, deleted: bool) -> None:
    [event] = parse(upsert("messages.update", keyId="3EB0", messageId="cdb", fromMe=True, status=status))
    assert isinstance(event, StatusEvent)
    assert event.key_id == "3EB0"
    assert (event.rank, event.error, event.deleted) == (rank, error, deleted)


def test_an_unknown_status_is_journalled_only() -> None:
    [event] = parse(upsert("messages.update", keyId="3EB0", status="EDITED"))
    assert event == IgnoredEvent("i", "messages.update", "no known status")


def test_several_updates_in_one_body() -> None:
    updates = [{"keyId": "A", "status": "READ"}, {"keyId": "B", "status": "READ"}, 7]
    kinds = [type(event) for event in parse({"event": "messages.update", "instance": "i", "data": updates})]
    assert kinds == [StatusEvent, StatusEvent, IgnoredEvent]


def test_a_customers_edit_and_ours() -> None:
    theirs = captured("wain_edited_sender_perspective__0_messages_edited")
    assert isinstance(theirs, EditEvent)
    assert (theirs.key_id, theirs.text, theirs.by_us) == ("3AEDIT0000000000001", "v2", False)
    assert theirs.timestamp_ms == 1795291100123
    ours = captured("stub_updateMessage__0_send_message_update")
    assert isinstance(ours, EditEvent)
    assert (ours.key_id, ours.text, ours.by_us) == ("3EB0E470E74A9A6F12090F", "v2 mine", True)


def test_an_edit_without_text_is_an_edit() -> None:
    [event] = parse(upsert("messages.edited", key={"id": "A"}, type="MESSAGE_EDIT"))
    assert isinstance(event, EditEvent)
    assert event.text is None


@pytest.mark.parametrize(
    "name",
    ["wain_revoked_sender_perspective__0_messages_edited", "wain_ephemeral_setting__0_messages_edited"],
)
def test_other_protocol_messages_are_no_edits(name: str) -> None:
    assert isinstance(captured(name), IgnoredEvent)


def test_deletions_in_both_shapes() -> None:
    ours = captured("stub_deleteMessage__0_messages_delete")
    assert isinstance(ours, DeleteEvent)
    assert (ours.key_id, ours.by_us, ours.from_me) == ("3EB0E470E74A9A6F12090F", True, True)
    [theirs] = parse(upsert("messages.delete", id="3A01", remoteJid=ANA, fromMe=False))
    assert isinstance(theirs, DeleteEvent)
    assert (theirs.key_id, theirs.by_us, theirs.remote_jid) == ("3A01", False, ANA)


def test_connections() -> None:
    opened = captured("stub_connection_open__0_connection_update")
    assert isinstance(opened, ConnectionEvent)
    assert (opened.state, opened.wuid) == ("open", "5511900000000@s.whatsapp.net")
    closed = captured("wa_close_401__1_connection_update")
    assert isinstance(closed, ConnectionEvent)
    assert (closed.state, closed.status_reason, closed.wuid) == ("close", 401, None)


def test_status_posts_and_newsletters_stay_at_the_door() -> None:
    assert captured("wain_status_broadcast__2_messages_upsert") == IgnoredEvent(
        "lab-wa", "messages.upsert", "status post"
    )
    [event] = parse(upsert(key={"id": "A", "remoteJid": "1@newsletter"}))
    assert isinstance(event, IgnoredEvent)
    assert event.why == "newsletter"


@pytest.mark.parametrize("name", ["messages.upsert", "MESSAGES_UPSERT", "messages-upsert"])
def test_event_names_in_every_spelling(name: str) -> None:
    [event] = parse(upsert(name, key={"id": "A", "remoteJid": ANA}))
    assert isinstance(event, MessageEvent)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {},
        {"event": 5},
        {"event": "messages.upsert"},
        upsert(),
        upsert(key={"remoteJid": ANA}),
        upsert(key={"id": "A"}),
        upsert(key={"id": {"a": 1}, "remoteJid": ANA}),
        upsert(key="x"),
        upsert("messages.update", status="READ"),
        upsert("messages.delete"),
        upsert("messages.edited", type="MESSAGE_EDIT"),
        upsert("connection.update"),
        {"event": "messages.upsert", "data": []},
        {"event": "messages.upsert", "data": None},
    ],
    ids=repr,
)
def test_malformed_bodies_say_why(body: object) -> None:
    [event] = parse(body)
    assert isinstance(event, IgnoredEvent)
    assert event.why.startswith("malformed: ")


def test_a_stored_row_has_its_highest_status() -> None:
    page = load_capture("http", "stub_findMessages_6s_after_client_timeout")["response"]["body"]["messages"]
    record = message_from_record(page["records"][0], "lab-wa")
    assert record is not None
    assert (record.instance_name, record.source_event, record.status) == ("lab-wa", "findMessages", 4)
    assert not record.from_phone


def test_a_stored_row_typed_on_the_phone() -> None:
    row = {"key": {"id": "A", "remoteJid": ANA, "fromMe": True}, "message": {"conversation": "x"}}
    typed = message_from_record(row | {"source": "ios"})
    assert typed is not None
    assert typed.from_phone
    sent = message_from_record(row | {"source": "web", "MessageUpdate": [{"status": "ERROR"}]})
    assert sent is not None
    assert not sent.from_phone
    assert sent.error
    assert sent.status is None


def test_a_revoked_row_has_no_text() -> None:
    page = load_capture("http", "stub_findMessages_after_revoke")["response"]["body"]["messages"]
    record = message_from_record(page["records"][0])
    assert record is not None
    assert record.text is None


@pytest.mark.parametrize("row", [None, 5, {}, {"key": {"id": "A"}}, {"key": {"remoteJid": ANA}}])
def test_a_row_without_id_or_address_is_none(row: object) -> None:
    assert message_from_record(row) is None


def test_text_no_database_would_take_is_made_storable() -> None:
    [event] = parse(upsert(key={"id": "A", "remoteJid": ANA}, message={"conversation": "a\x00b\ud800c"}))
    assert isinstance(event, MessageEvent)
    assert event.text == "a\ufffdb\ufffdc"


def test_endless_wrappers_end() -> None:
    inner: dict[str, Any] = {"conversation": "deep"}
    for _ in range(500):
        inner = {"ephemeralMessage": {"message": inner}}
    [event] = parse(upsert(key={"id": "A", "remoteJid": ANA}, message=inner))
    assert isinstance(event, MessageEvent)
    assert event.kind == "unknown"
