"""Whatever JSON or text arrives, the pure parts answer and never raise. A failure prints its seed."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chat.evolution import jids
from apps.chat.evolution.events import MessageEvent, message_from_record, parse, strip_credentials
from apps.chat.evolution.fingerprint import fingerprint, fingerprint_of_record
from apps.chat.evolution.outcomes import REASONS, Verdict, classify_answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "messages.upsert",
        "send.message",
        "messages.update",
        "messages.edited",
        "messages.delete",
        "connection.update",
    ]
)
JID = st.sampled_from(
    ["5511990000001@s.whatsapp.net", "1@lid", "120363000000000001@g.us", "status@broadcast"]
)
TYPES = st.sampled_from(
    ["conversation", "imageMessage", "ephemeralMessage", "reactionMessage", "viewOnceMessageV2"]
)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: values | JSON for name, values in known.items()})


KEY = fields(
    id=st.text(min_size=1),
    remoteJid=JID,
    fromMe=st.booleans(),
    remoteJidAlt=JID,
    senderPn=JID,
    participant=JID,
)
MESSAGE = st.dictionaries(
    TYPES, JSON | fields(message=JSON, text=st.text(), key=KEY, contextInfo=JSON), max_size=3
)
DATA = fields(
    key=KEY,
    keyId=st.text(),
    status=st.sampled_from(["READ", "ERROR"]),
    message=MESSAGE,
    editedMessage=MESSAGE,
    messageType=TYPES,
    type=st.just("MESSAGE_EDIT"),
    contextInfo=fields(stanzaId=st.text()),
    messageTimestamp=st.integers() | fields(low=st.integers(), high=st.integers()),
    MessageUpdate=st.lists(fields(status=st.text())),
    state=st.text(),
    source=st.text(),
)
BODY = fields(event=NAMES, instance=st.text(), data=DATA | st.lists(DATA, max_size=3), sender=JID)


@settings(max_examples=400)
@given(BODY | JSON)
def test_parse_answers_to_any_json(body: Any) -> None:
    events = parse(body)
    assert events
    for event in events:
        assert isinstance(event.source_event, str)
        if isinstance(event, MessageEvent):
            assert len(fingerprint_of_record(event)) == 32
            json.dumps([event.text, event.caption, event.key_id], ensure_ascii=False).encode()


@given(DATA | JSON)
def test_any_row_is_a_message_or_none(row: Any) -> None:
    record = message_from_record(row)
    assert record is None or (record.key_id and record.remote_jid)


@given(st.dictionaries(st.sampled_from(["apikey", "API_KEY", "Authorization", "x", "data"]), JSON) | JSON)
def test_stripping_leaves_storable_json_without_credentials(body: Any) -> None:
    kept = strip_credentials(body)
    said = json.dumps(kept, ensure_ascii=False, allow_nan=False)
    said.encode()
    assert "\\u0000" not in said
    assert not {"apikey", "API_KEY", "Authorization"} & kept.keys()
    assert strip_credentials(kept) == kept


@given(st.text())
def test_addresses_of_any_text(text: str) -> None:
    key = jids.canonical_key(text)
    assert jids.canonical_key(key) == key
    try:
        digits = jids.digits_of(text)
    except ValueError as error:
        assert str(error).endswith((".", "0001."))
    else:
        assert digits.replace("-", "").isdigit()


@given(st.from_regex(r"\A(55[1-9][1-9]9[0-9]{8}|521[0-9]{10}|549[0-9]{10}|1[2-9][0-9]{9})\Z"))
def test_number_variants_are_one_person(digits: str) -> None:
    keys = {jids.canonical_key(variant) for variant in jids.number_variants(digits)}
    assert keys == {jids.canonical_key(jids.phone_jid(digits))}
    assert jids.digits_of(digits) == digits


@given(st.text(), st.text(alphabet=" \t\n\r\ufeff\u00a0"), st.text(alphabet=" \t\n\r\ufeff\u00a0"))
def test_a_fingerprint_ignores_what_surrounds(text: str, before: str, after: str) -> None:
    ours = fingerprint("text", text=text)
    assert ours == fingerprint("text", text=before + text + after)
    assert len(ours) == 32


@given(
    st.integers(100, 599),
    JSON | fields(response=fields(message=JSON), error=st.text(), message=JSON, key=KEY),
    st.booleans(),
)
def test_any_answer_has_an_outcome(status: int, body: Any, to_group: bool) -> None:
    outcome = classify_answer(status, body, "sendText", to_group=to_group)
    assert outcome.reason in REASONS
    assert (outcome.verdict is Verdict.ACCEPTED) == (outcome.provider_id is not None)
