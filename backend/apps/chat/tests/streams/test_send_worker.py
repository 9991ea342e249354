"""The send loop: lives through flushes, takes over from the dead, never trims, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from apps.chat import redis_streams as streams
from apps.chat.redis_streams import WakeUp
from apps.chat.stream_consumer import SendWorker, supervise
from apps.chat.tests.streams.conftest import Lanes, Running, until

INSTANCE = uuid4()


def wake(lane_id: UUID | None = None) -> UUID:
    lane_id = lane_id or uuid4()
    streams.enqueue_send_message(None, lane_id, INSTANCE)
    return lane_id


def length(raw: redis.Redis, quick: Any) -> int:
    return int(raw.xlen(quick.CHAT_STREAM_SEND_NAME))


def group(raw: redis.Redis, quick: Any) -> dict[str, Any]:
    found: dict[str, Any] = raw.xinfo_groups(quick.CHAT_STREAM_SEND_NAME)[0]
    return found


async def test_entries_are_worked_acknowledged_and_gone(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    wanted = [wake() for _ in range(50)]
    async with running():
        await until(lambda: length(raw, quick) == 0)
        assert group(raw, quick)["pending"] == 0
    assert sorted(set(lanes.worked)) == sorted(wanted)


async def test_many_entries_for_one_lane_are_one_visit(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    lane_id = wake()
    for _ in range(99):
        wake(lane_id)
    async with running():
        await until(lambda: length(raw, quick) == 0)
    assert len(lanes.worked) < 10


@pytest.mark.django_db(transaction=True)
async def test_an_entry_that_names_only_its_message_is_looked_up(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    from asgiref.sync import sync_to_async

    from apps.chat.tests.factories import queue

    row = await sync_to_async(queue)()
    streams.enqueue_send_message(row.message_id)
    streams.enqueue_send_message(uuid4())
    async with running():
        await until(lambda: length(raw, quick) == 0)
    assert lanes.worked == [row.conversation_id]


# --- losing things --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["flush", "stream", "group"])
async def test_a_lost_group_is_made_again(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any, loss: str
) -> None:
    async with running():
        first = wake()
        await until(lambda: first in lanes.worked)
        if loss == "flush":
            raw.flushall()
        elif loss == "stream":
            raw.delete(quick.CHAT_STREAM_SEND_NAME)
        else:
            raw.xgroup_destroy(quick.CHAT_STREAM_SEND_NAME, quick.CHAT_STREAM_CONSUMER_GROUP)
        second = wake()
        await until(lambda: second in lanes.worked)
        await until(lambda: length(raw, quick) == 0)


async def test_a_lost_group_misses_nothing_that_was_added_before_it_is_made_again(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    wanted = [wake() for _ in range(5)]
    raw.xgroup_create(quick.CHAT_STREAM_SEND_NAME, quick.CHAT_STREAM_CONSUMER_GROUP, id="$")
    raw.xgroup_destroy(quick.CHAT_STREAM_SEND_NAME, quick.CHAT_STREAM_CONSUMER_GROUP)
    async with running():
        await until(lambda: set(lanes.worked) == set(wanted))


async def test_redis_away_is_a_pause_not_an_end(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failed = streams.read, asyncio.Event()

    async def away(*_: Any) -> Any:
        failed.set()
        raise redis.exceptions.ConnectionError("away")

    async with running():
        monkeypatch.setattr(streams, "read", away)
        await asyncio.wait_for(failed.wait(), 5)
        monkeypatch.setattr(streams, "read", read)
        lane_id = None
        while lane_id is None:
            try:
                lane_id = wake()
            except Exception:
                await asyncio.sleep(0.1)  # producers fail fast for a second after an outage
        await until(lambda: lane_id in lanes.worked)


async def test_a_dead_consumers_entries_are_taken_over(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    await streams.ensure_stream_setup()
    wanted = [wake() for _ in range(300)]
    raw.xreadgroup(quick.CHAT_STREAM_CONSUMER_GROUP, "dead", {quick.CHAT_STREAM_SEND_NAME: ">"}, count=500)
    assert group(raw, quick)["pending"] == 300
    async with running():
        await until(lambda: length(raw, quick) == 0, within=12)
    assert set(lanes.worked) == set(wanted)
    assert group(raw, quick)["pending"] == 0


async def test_entries_deleted_while_pending_are_no_trouble(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    await streams.ensure_stream_setup()
    gone = streams.enqueue_send_message(None, uuid4(), INSTANCE)
    kept = wake()
    raw.xreadgroup(quick.CHAT_STREAM_CONSUMER_GROUP, "dead", {quick.CHAT_STREAM_SEND_NAME: ">"}, count=500)
    raw.xdel(quick.CHAT_STREAM_SEND_NAME, gone)
    async with running():
        await until(lambda: length(raw, quick) == 0 and group(raw, quick)["pending"] == 0)
    assert lanes.worked == [kept]


async def test_a_living_consumers_entries_are_left_to_it(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    quick.CHAT_STREAM_RECLAIM_IDLE_MS = 60_000
    await streams.ensure_stream_setup()
    wake()
    raw.xreadgroup(quick.CHAT_STREAM_CONSUMER_GROUP, "alive", {quick.CHAT_STREAM_SEND_NAME: ">"}, count=500)
    assert await streams.reclaim(quick.CHAT_STREAM_SEND_NAME, "other", 10) == []


async def test_unread_entries_are_never_trimmed(raw: redis.Redis, quick: Any) -> None:
    """Ten times over what anybody calls the stream's bound."""
    quick.CHAT_STREAM_MAXLEN = 100
    for _ in range(100):
        wake()
    streams.enqueue_many(WakeUp(None, uuid4(), INSTANCE) for _ in range(900))
    assert length(raw, quick) == 1000
    await streams.ensure_stream_setup()
    assert (
        len(
            raw.xreadgroup(
                quick.CHAT_STREAM_CONSUMER_GROUP, "c", {quick.CHAT_STREAM_SEND_NAME: ">"}, count=2000
            )[0][1]
        )
        == 1000
    )


async def test_dead_letters_have_their_bound(raw: redis.Redis, quick: Any) -> None:
    quick.CHAT_STREAM_DLQ_MAXLEN = 50
    for n in range(400):
        await streams.push_to_dead_letter("test", "garbage", n=n)
    assert 50 <= raw.xlen(quick.CHAT_STREAM_DLQ_NAME) < 250
    assert raw.xrevrange(quick.CHAT_STREAM_DLQ_NAME, count=1)[0][1]["n"] == "399"


# --- stopping -------------------------------------------------------------------------------------


async def test_a_stop_gives_back_what_is_left_and_leaves_no_consumer(
    running: Running, raw: redis.Redis, quick: Any
) -> None:
    lanes = Lanes(concurrency=2)
    lanes.go_on.clear()
    wanted = [wake() for _ in range(6)]
    async with running(SendWorker(lanes, "leaving")) as stop:  # type: ignore[arg-type]
        await until(lambda: group(raw, quick)["pending"] == 6)
        stop.set()
        await asyncio.sleep(0.2)
        lanes.go_on.set()
    after = group(raw, quick)
    assert (after["pending"], after["consumers"]) == (0, 0)
    assert length(raw, quick) == 4
    left = [
        streams.decode_wake_up(fields["payload"]) for _, fields in raw.xrange(quick.CHAT_STREAM_SEND_NAME)
    ]
    assert {w.conversation_id for w in left} == set(wanted) - set(lanes.worked[:2])


async def test_a_stop_that_must_cut_short_gives_back_those_as_well(
    running: Running, raw: redis.Redis, quick: Any
) -> None:
    quick.CHAT_DRAIN_SECONDS = 0.1
    lanes = Lanes(concurrency=2)
    lanes.go_on.clear()
    wanted = {wake() for _ in range(4)}
    async with running(SendWorker(lanes, "leaving")) as stop:  # type: ignore[arg-type]
        await until(lambda: group(raw, quick)["pending"] == 4)
        stop.set()
    after = group(raw, quick)
    assert (after["pending"], after["consumers"]) == (0, 0)
    left = [
        streams.decode_wake_up(fields["payload"]) for _, fields in raw.xrange(quick.CHAT_STREAM_SEND_NAME)
    ]
    assert {w.conversation_id for w in left} == wanted


async def test_a_stop_is_heard_while_the_database_is_away(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    """Entries that name no lane are looked up for as long as it takes, but not longer than the worker lives."""

    class Away:
        async def call(self, _: Any) -> Any:
            asked.set()
            raise OSError("away")

    asked = asyncio.Event()
    lanes.database = Away()  # type: ignore[assignment]
    streams.enqueue_send_message(uuid4())
    async with running(SendWorker(lanes, "leaving")) as stop:  # type: ignore[arg-type]
        await asyncio.wait_for(asked.wait(), 5)
        stop.set()
    assert (group(raw, quick)["pending"], group(raw, quick)["consumers"]) == (0, 0)
    assert length(raw, quick) == 1


async def test_a_stop_waits_for_acknowledgements_under_way(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge, begun = streams.acknowledge, asyncio.Event()

    async def slow(*args: Any) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await acknowledge(*args)

    monkeypatch.setattr(streams, "acknowledge", slow)
    for _ in range(5):
        wake()
    async with running(SendWorker(lanes, "leaving")) as stop:  # type: ignore[arg-type]
        await asyncio.wait_for(begun.wait(), 5)
        stop.set()
    assert (group(raw, quick)["pending"], group(raw, quick)["consumers"]) == (0, 0)
    assert length(raw, quick) == 0


@pytest.mark.parametrize("part", ["reclaim", "remove_idle_consumers", "acknowledge"])
async def test_a_side_task_that_dies_takes_its_worker_with_it(
    lanes: Lanes, raw: redis.Redis, quick: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    async def broken(*_: Any) -> Any:
        raise LookupError("a defect")

    await streams.ensure_stream_setup()
    monkeypatch.setattr(streams, part, broken)
    wake()
    with pytest.raises(LookupError):
        await asyncio.wait_for(SendWorker(lanes, "c").run(asyncio.Event()), 5)  # type: ignore[arg-type]


async def test_what_was_given_back_is_read_by_another(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any
) -> None:
    stuck = Lanes()
    stuck.go_on.clear()
    quick.CHAT_DRAIN_SECONDS = 0.1
    lane_id = wake()
    async with running(SendWorker(stuck, "leaving")) as stop:  # type: ignore[arg-type]
        await until(lambda: group(raw, quick)["pending"] == 1)
        stop.set()
    async with running():
        await until(lambda: lane_id in lanes.worked)


async def test_an_entry_taken_over_meanwhile_is_not_given_back_twice(raw: redis.Redis, quick: Any) -> None:
    await streams.ensure_stream_setup()
    wake()
    stream, name = quick.CHAT_STREAM_SEND_NAME, quick.CHAT_STREAM_CONSUMER_GROUP
    entries = streams._entries(raw.xreadgroup(name, "me", {stream: ">"})[0][1])
    await streams.acknowledge(stream, [entries[0].id])
    await streams.give_back(stream, entries)
    assert length(raw, quick) == 0


async def test_a_consumer_with_something_pending_is_never_removed(raw: redis.Redis, quick: Any) -> None:
    await streams.ensure_stream_setup()
    stream, name = quick.CHAT_STREAM_SEND_NAME, quick.CHAT_STREAM_CONSUMER_GROUP
    wake()
    raw.xreadgroup(name, "busy", {stream: ">"})
    raw.xgroup_createconsumer(stream, name, "idle")
    await until(lambda: min(row["idle"] for row in raw.xinfo_consumers(stream, name)) > 20)
    assert await streams.remove_idle_consumers(stream, 10_000) == 0
    assert await streams.remove_idle_consumers(stream, 10) == 1
    assert await streams.remove_consumer(stream, "busy") is False
    assert [row["name"] for row in raw.xinfo_consumers(stream, name)] == ["busy"]


# --- supervision and figures ----------------------------------------------------------------------


async def test_a_worker_that_dies_stops_the_others_and_is_reported() -> None:
    stop, ended = asyncio.Event(), []

    async def good() -> None:
        await stop.wait()
        ended.append("good")

    async def bad() -> None:
        raise LookupError("a defect")

    with pytest.raises(LookupError):
        await asyncio.wait_for(supervise([good(), bad()], stop), 5)
    assert ended == ["good"]


async def test_a_reader_says_once_that_its_group_is_gone(
    lanes: Lanes, running: Running, raw: redis.Redis, quick: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with running():
        wake()
        await until(lambda: lanes.worked)
        raw.flushall()
        lane_id = wake()
        await until(lambda: lane_id in lanes.worked)
    told = [record for record in caplog.records if "group is gone" in record.message]
    assert 1 <= len(told) <= 3


async def test_the_figures_tell_what_waits_and_what_is_in_hand(raw: redis.Redis, quick: Any) -> None:
    empty = streams.get_stream_metrics()
    assert empty["total_streams_length"] == 0
    assert empty["send_message_stream"]["groups"] == []
    assert empty["send_message_stream"]["oldest_age_seconds"] is None
    await streams.ensure_stream_setup()
    for _ in range(5):
        wake()
    raw.xreadgroup(quick.CHAT_STREAM_CONSUMER_GROUP, "c", {quick.CHAT_STREAM_SEND_NAME: ">"}, count=2)
    streams.enqueue_mark_as_read(uuid4(), uuid4())
    await streams.push_to_dead_letter("test", "garbage")
    figures = streams.get_stream_metrics()
    sends = figures["send_message_stream"]
    assert (sends["length"], sends["pending"], sends["lag"], sends["consumers"]) == (5, 2, 3, 1)
    assert 0 <= sends["oldest_age_seconds"] < 30
    assert sends["groups"][0]["name"] == quick.CHAT_STREAM_CONSUMER_GROUP
    assert (figures["mark_as_read_stream"]["length"], figures["mark_as_read_stream"]["lag"]) == (1, 1)
    assert figures["dead_letter_stream"]["length"] == 1
    assert figures["total_streams_length"] == 7


async def test_both_ways_to_add_write_the_same(raw: redis.Redis, quick: Any) -> None:
    message, place = uuid4(), uuid4()
    streams.enqueue_send_message(message, place, INSTANCE)
    await streams.enqueue_send_message_async(message, place, INSTANCE)
    streams.enqueue_many([WakeUp(message, place, INSTANCE)])
    payloads = {fields["payload"] for _, fields in raw.xrange(quick.CHAT_STREAM_SEND_NAME)}
    assert len(payloads) == 1
    assert streams.decode_wake_up(payloads.pop()) == WakeUp(message, place, INSTANCE)
    streams.enqueue_mark_as_read(place, message)
    await streams.enqueue_mark_as_read_async(place, message)
    assert len({f["payload"] for _, f in raw.xrange(quick.CHAT_STREAM_MARK_READ_NAME)}) == 1
