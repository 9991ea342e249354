"""What kinds beside text say, from captures and from what programs make of them."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from apps.chat.evolution.details import details_of
from apps.chat.evolution.events import MessageEvent, parse

from ..inbound.conftest import capture

SEED = int(os.environ.get("TEST_SEED") or random.randrange(1 << 32))
CARD = {"name": "Bob Test", "phones": [{"number": "+55 11 99000-0002", "wa_id": "5511990000002"}]}


@pytest.mark.parametrize(
    ("name", "kind", "details"),
    [
        ("wain_contact__2_messages_upsert", "contact", {"contacts": [CARD]}),
        (
            "wain_location__2_messages_upsert",
            "location",
            {"location": {"latitude": -23.5, "longitude": -46.6, "name": "Place", "address": "Street 1"}},
        ),
        (
            "wain_live_location__2_messages_upsert",
            "location",
            {"location": {"latitude": -23.5, "longitude": -46.6, "live": True}},
        ),
        (
            "wain_poll__2_messages_upsert",
            "poll",
            {"poll": {"name": "Q?", "options": ["a", "b"], "selectable": 1}},
        ),
        ("wain_list_response__2_messages_upsert", "choice", {"choice": {"id": "row-1", "title": "r"}}),
        ("wain_buttons_response__2_messages_upsert", "choice", {"choice": {"id": "y", "title": "Yes"}}),
        ("wain_template_button_reply__2_messages_upsert", "choice", {"choice": {"id": "y", "title": "Yes"}}),
        ("wain_interactive_response__2_messages_upsert", "choice", {"choice": {"id": "y", "title": "Yes"}}),
        ("wain_event_unknown_type__2_messages_upsert", "unknown", {"type": "eventMessage"}),
        ("wain_viewonce__2_messages_upsert", "view_once", None),
        ("wain_audio_ptt__2_messages_upsert", "voice", None),
        ("wain_ephemeral__2_messages_upsert", "text", None),
    ],
)
def test_captures_say_what_they_mean(name: str, kind: str, details: Any) -> None:
    (event,) = parse(capture(name))
    assert isinstance(event, MessageEvent)
    assert (event.kind, event.details) == (kind, details)


def test_several_cards_are_named_together() -> None:
    cards = [{"displayName": "Bob", "vcard": "BEGIN:VCARD\nTEL:1\nEND:VCARD"}, {"vcard": "FN:Eve\nEMAIL:e@x"}]
    body = {
        "event": "messages.upsert",
        "data": {
            "key": {"id": "A", "remoteJid": "5511990000001@s.whatsapp.net"},
            "message": {"contactsArrayMessage": {"contacts": cards}},
        },
    }
    (event,) = parse(body)
    assert isinstance(event, MessageEvent)
    assert event.caption == "Bob, Eve"
    assert event.details == {
        "contacts": [
            {"name": "Bob", "phones": [{"number": "1"}]},
            {"name": "Eve", "phones": [], "emails": ["e@x"]},
        ]
    }


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(91, 0), (None, 0), ("1", 2), (float("nan"), 1), (True, 1)]
)
def test_a_place_nowhere_is_no_place(latitude: object, longitude: object) -> None:
    fields = {"degreesLatitude": latitude, "degreesLongitude": longitude}
    assert details_of("location", "locationMessage", fields) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "degreesLatitude", "degreesLongitude", "contacts", "vcard", "displayName", "options", "singleSelectReply",
    "nativeFlowResponseMessage", "body", "header", "buttons", "vote", "pollCreationMessageKey", "title",
)  # fmt: skip


@seed(SEED)
@settings(max_examples=300, deadline=None, database=None)
@given(
    kind=st.sampled_from(["location", "contact", "poll", "poll_vote", "choice", "interactive", "unknown"]),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6),
)
def test_no_fields_are_an_error(kind: str, fields: dict[str, Any]) -> None:
    print(f"TEST_SEED={SEED}")
    details_of(kind, "x", fields)
