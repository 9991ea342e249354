"""Entries that are not what producers write: a reason in the dead letters, the entry gone, the loop alive."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
import redis

from apps.chat import redis_streams as streams
from apps.chat.redis_streams import Garbage, ReadMark, WakeUp, decode_read_mark, decode_wake_up
from apps.chat.stream_consumer import MarkReadWorker
from apps.chat.tests.streams.conftest import Lanes, Running, until

ID, OTHER = uuid4(), uuid4()

BAD_PAYLOADS = {
    "empty": ("", "no payload"),
    "no JSON": ("{", "no JSON"),
    "a word": ("hello", "no JSON"),
    "a list": ("[]", "no JSON object"),
    "a number": ("3", "no JSON object"),
    "null": ("null", "no JSON object"),
    "a text": ('"x"', "no JSON object"),
    "not a number": ("NaN", "no JSON object"),
    "a number too long": ("1" * 10_000, "no JSON"),
    "nested too deep": ("[" * 10_000, "no JSON"),
    "huge": (json.dumps({"message_id": str(ID), "x": "y" * 20_000}), "payload of"),
    "nothing named": ("{}", "message_id"),
    "no UUID": ('{"message_id": "nope", "conversation_id": "nope"}', "no UUID"),
    "a number for an id": ('{"message_id": 5, "conversation_id": 5}', "no UUID"),
    "a list for an id": ('{"message_id": [], "conversation_id": []}', "no UUID"),
    "an object for an id": ('{"message_id": {}, "conversation_id": {}}', "no UUID"),
    "true for an id": ('{"message_id": true, "conversation_id": true}', "no UUID"),
    "half a character": ('{"message_id": "\\ud800", "conversation_id": "\\ud800"}', "no UUID"),
    "NUL": ('{"message_id": "\\u0000", "conversation_id": "\\u0000"}', "no UUID"),
}


@pytest.mark.parametrize("decode", [decode_wake_up, decode_read_mark])
@pytest.mark.parametrize("bad", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS.keys())
def test_each_kind_is_told_from_the_others(decode: Any, bad: tuple[str, str]) -> None:
    payload, reason = bad
    with pytest.raises(Garbage) as caught:
        decode(payload)
    said = str(caught.value)
    assert reason in said or "missing" in said
    assert len(said) < 80, "the reason must not repeat the payload"


def test_a_wrong_instance_is_garbage() -> None:
    with pytest.raises(Garbage, match="instance_id"):
        decode_wake_up(json.dumps({"message_id": str(ID), "instance_id": "x"}))


@pytest.mark.parametrize("missing", ["conversation_id", "message_id"])
def test_a_read_mark_needs_both_ids(missing: str) -> None:
    value = {"conversation_id": str(ID), "message_id": str(OTHER)}
    del value[missing]
    with pytest.raises(Garbage, match=f"{missing} is missing"):
        decode_read_mark(json.dumps(value))


def test_unknown_fields_of_a_later_release_do_no_harm() -> None:
    more = {"version": 9, "priority": ["high"], "message_id": str(ID), "conversation_id": str(OTHER)}
    assert decode_wake_up(json.dumps(more)) == WakeUp(ID, OTHER, None)
    assert decode_read_mark(json.dumps(more)) == ReadMark(OTHER, ID)


def dead_letters(raw: redis.Redis, quick: Any) -> list[dict[str, str]]:
    return [fields for _, fields in raw.xrange(quick.CHAT_STREAM_DLQ_NAME)]


async def test_garbage_is_buried_and_what_follows_is_worked(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    stream = quick.CHAT_STREAM_SEND_NAME
    raw.xadd(stream, {"other": "field"})
    for payload, _ in BAD_PAYLOADS.values():
        raw.xadd(stream, {"payload": payload})
    good = streams.enqueue_send_message(None, ID, OTHER)
    async with running():
        await until(lambda: raw.xlen(stream) == 0)
    assert lanes.worked == [ID]
    letters = dead_letters(raw, quick)
    assert len(letters) == len(BAD_PAYLOADS) + 1
    assert {letter["reason"] for letter in letters} == {"garbage"}
    assert {letter["source"] for letter in letters} == {stream}
    assert all(letter["detail"] and letter["entry"] < good for letter in letters)
    assert not any("nope" in json.dumps(letter) for letter in letters)


async def test_garbage_marks_are_buried_too(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    for payload, _ in BAD_PAYLOADS.values():
        raw.xadd(quick.CHAT_STREAM_MARK_READ_NAME, {"payload": payload})
    async with running(MarkReadWorker(lanes, "c")):  # type: ignore[arg-type]
        await until(lambda: raw.xlen(quick.CHAT_STREAM_MARK_READ_NAME) == 0)
    assert len(dead_letters(raw, quick)) == len(BAD_PAYLOADS)


async def test_bytes_that_are_no_text_are_garbage_like_any_other(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    raw.xadd(quick.CHAT_STREAM_SEND_NAME, {"payload": b'{"message_id": "\xff\xfe"}'})
    raw.xadd(quick.CHAT_STREAM_SEND_NAME, {b"\xff": b"\xfe"})
    streams.enqueue_send_message(None, ID, OTHER)
    async with running():
        await until(lambda: raw.xlen(quick.CHAT_STREAM_SEND_NAME) == 0, within=2)
    assert lanes.worked == [ID]
    assert len(dead_letters(raw, quick)) == 2


async def test_garbage_waits_for_its_grave_while_redis_is_full(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no room for a dead letter the entry stays pending, and comes back."""
    bury = streams.push_to_dead_letter
    tried = asyncio.Event()

    async def full(*_: Any, **__: Any) -> None:
        tried.set()
        raise redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'")

    monkeypatch.setattr(streams, "push_to_dead_letter", full)
    raw.xadd(quick.CHAT_STREAM_SEND_NAME, {"payload": "{"})
    async with running():
        await asyncio.wait_for(tried.wait(), 5)
        assert raw.xlen(quick.CHAT_STREAM_SEND_NAME) == 1
        monkeypatch.setattr(streams, "push_to_dead_letter", bury)
        await until(lambda: raw.xlen(quick.CHAT_STREAM_SEND_NAME) == 0)
    assert len(dead_letters(raw, quick)) == 1
