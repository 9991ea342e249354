"""The lists of requests: an item is done, tried again, put off or buried; never forgotten, never a crowd's undoing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis
from alrea_sense.redis_url import with_database
from testing import servers

from apps.chat import list_loops, redis_hands, redis_queue
from apps.chat.enrichment.errors import GivenUp, NotNow, TryAgain
from apps.chat.redis_clients import close_async_clients, sync_client
from apps.chat.redis_consumer import JobWorker
from apps.chat.redis_hands import Hands
from apps.chat.tests.streams.conftest import until

QUEUE = redis_queue.REDIS_QUEUE_FETCH_PROFILE_PIC
DEAD = redis_queue.REDIS_QUEUE_DEAD


@pytest.fixture
def items(quick: Any, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    quick.CHAT_HEARTBEAT_SECONDS, quick.CHAT_HEARTBEAT_DEAD_SECONDS = 0.1, 0.5
    quick.CHAT_RETRY_BASE_SECONDS = 0.05
    monkeypatch.setattr(list_loops, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(list_loops, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(list_loops, "WAIT_SECONDS", 0.1)
    return sync_client(quick.CHAT_QUEUE_REDIS_URL)


class Jobs:
    """What the workers are to do, and what they did, by conversation."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.answer: Callable[[str, Mapping[str, Any], bool], Awaitable[str]] = self.done

    async def done(self, kind: str, payload: Mapping[str, Any], had_turn: bool) -> str:
        return "same"

    async def __call__(self, kind: str, payload: Mapping[str, Any], *, had_turn: bool = False) -> str:
        self.seen.append(str(payload["conversation_id"]))
        return await self.answer(kind, payload, had_turn)

    def always(self, error: Exception) -> None:
        async def fail(kind: str, payload: Mapping[str, Any], had_turn: bool) -> str:
            raise error

        self.answer = fail


@pytest.fixture
async def jobs(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jobs]:
    made = Jobs()
    monkeypatch.setattr("apps.chat.redis_consumer.jobs.work", made)
    yield made
    await close_async_clients()


@asynccontextmanager
async def running(worker: JobWorker | None = None) -> AsyncIterator[JobWorker]:
    worker = worker or JobWorker(QUEUE, f"w{uuid4().hex[:6]}")
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
        assert not task.done(), "the loop died"
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


def ask(conversation: str | None = None) -> str:
    conversation = conversation or str(uuid4())
    assert redis_queue.enqueue_once(QUEUE, {"conversation_id": conversation}) == "queued"
    return conversation


def at_rest(items: redis.Redis) -> bool:
    figures = redis_queue.get_list_metrics()["fetch_profile_pic"]
    return bool(figures["length"] == figures["in_hand"] == figures["later"] == 0)


# --- taking ---------------------------------------------------------------------------------------


async def test_the_oldest_is_taken_first(jobs: Jobs, items: redis.Redis, quick: Any) -> None:
    quick.CHAT_LIST_CONCURRENCY = 1
    wanted = [ask() for _ in range(20)]
    async with running():
        await until(lambda: at_rest(items) and len(jobs.seen) == 20)
    assert jobs.seen == wanted


async def test_a_hundred_items_do_not_wait_for_one_another(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    """At a pause of a tenth of a second each, as the seeds sketch it, these would take ten seconds."""
    for _ in range(100):
        ask()
    async with running():
        await until(lambda: at_rest(items), within=4)
    assert len(jobs.seen) == 100


async def test_slow_jobs_run_beside_each_other_up_to_the_bound(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    quick.CHAT_LIST_CONCURRENCY = 4
    at_once, most, go_on = 0, 0, asyncio.Event()

    async def slow(*_: Any) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await go_on.wait()
        at_once -= 1
        return "same"

    jobs.answer = slow
    for _ in range(12):
        ask()
    async with running():
        await until(lambda: at_once == 4)
        figures = redis_queue.get_list_metrics()["fetch_profile_pic"]
        assert (figures["length"], figures["in_hand"]) == (8, 4)
        go_on.set()
        await until(lambda: at_rest(items))
    assert most == 4


async def test_a_list_that_hangs_stalls_no_other(jobs: Jobs, items: redis.Redis) -> None:
    hanging = asyncio.Event()

    async def only_names(kind: str, *_: Any) -> str:
        if kind == "profile_pic":
            await hanging.wait()
        return "same"

    jobs.answer = only_names
    names = redis_queue.REDIS_QUEUE_FETCH_CONTACT_NAME
    for _ in range(20):
        ask()
        redis_queue.enqueue_once(names, {"conversation_id": str(uuid4())})
    async with running(), running(JobWorker(names, "names")):
        await until(lambda: items.llen(names) == 0 and len(jobs.seen) == 28)
        await until(lambda: redis_queue.get_list_metrics()["fetch_contact_name"]["in_hand"] == 0)
        hanging.set()
        await until(lambda: at_rest(items))


# --- failing --------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_and_then_buried(jobs: Jobs, items: redis.Redis, quick: Any) -> None:
    quick.CHAT_LIST_MAX_RETRIES = 3
    jobs.always(TryAgain("picture_timeout"))
    conversation = ask()
    async with running():
        await until(lambda: items.llen(DEAD) == 1)
        await until(lambda: at_rest(items))
    assert jobs.seen == [conversation] * 3
    (letter,) = redis_queue.get_dead_items()
    assert letter.pop("last_at") >= letter.pop("first_at") > 1e9
    assert letter.pop("id").startswith("list-")
    assert letter == {
        "queue": QUEUE,
        "reason": "picture_timeout",
        "tries": 3,
        "conversation_id": conversation,
    }


async def test_what_can_never_work_is_buried_at_once(jobs: Jobs, items: redis.Redis) -> None:
    jobs.always(GivenUp("not_a_group"))
    ask()
    async with running():
        await until(lambda: items.llen(DEAD) == 1)
    assert len(jobs.seen) == 1


async def test_an_error_nobody_thought_of_is_counted_like_any_other(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    quick.CHAT_LIST_MAX_RETRIES = 2
    jobs.always(ZeroDivisionError("secret text"))
    ask()
    async with running():
        await until(lambda: items.llen(DEAD) == 1)
    letter = items.lindex(DEAD, 0)
    assert "ZeroDivisionError" in str(letter) and "secret" not in str(letter)


async def test_what_was_given_up_may_be_asked_for_again(jobs: Jobs, items: redis.Redis) -> None:
    jobs.always(GivenUp("not_a_group"))
    conversation = ask()
    async with running():
        await until(lambda: items.llen(DEAD) == 1)
        await until(lambda: redis_queue.enqueue_once(QUEUE, {"conversation_id": conversation}) == "queued")


async def test_waiting_counts_no_attempt_and_ends_some_day(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    quick.CHAT_LIST_MAX_RETRIES, quick.CHAT_LIST_GIVE_UP_SECONDS = 2, 3600
    jobs.always(NotNow("instance_away", 0.01))
    ask()
    async with running():
        await until(lambda: len(jobs.seen) > 5)
        assert items.llen(DEAD) == 0
        quick.CHAT_LIST_GIVE_UP_SECONDS = 0.01
        await until(lambda: items.llen(DEAD) == 1)
    (letter,) = redis_queue.get_dead_items()
    assert (letter["reason"], letter["tries"]) == ("instance_away", 0)


async def test_a_turn_that_was_waited_for_is_used(jobs: Jobs, items: redis.Redis) -> None:
    turns: list[bool] = []

    async def paced(kind: str, payload: Mapping[str, Any], had_turn: bool) -> str:
        turns.append(had_turn)
        if not had_turn:
            raise NotNow("paced", 0.05, turn=True)
        return "same"

    jobs.answer = paced
    ask()
    async with running():
        await until(lambda: at_rest(items))
    assert turns == [False, True]


async def test_garbage_is_buried_and_what_follows_is_worked(jobs: Jobs, items: redis.Redis) -> None:
    bad = ["", "{", "[]", "3", "{}", '{"conversation_id": 5}', "[" * 20_000, "x" * 1_000_000, "\x00"]
    for text in bad:
        items.lpush(QUEUE, text)
    conversation = ask()
    async with running():
        await until(lambda: jobs.seen == [conversation] and items.llen(DEAD) == len(bad))
        await until(lambda: at_rest(items))
    letters = redis_queue.get_dead_items()
    assert {letter["reason"] for letter in letters} == {"garbage"}
    assert max(letter["size"] for letter in letters) == 1_000_000


async def test_what_older_producers_wrote_leaves_no_key_behind(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    """The seeds' own shape carries a key; once touched, neither the waiting item nor its letter has it."""
    quick.CHAT_LIST_MAX_RETRIES, quick.CHAT_RETRY_BASE_SECONDS = 2, 30
    jobs.always(TryAgain("http_500"))
    old = {
        "conversation_id": str(uuid4()),
        "phone": "5511999990000",
        "api_key": "hush",
        "base_url": "http://x",
    }
    items.lpush(QUEUE, json.dumps(old))
    async with running():
        await until(lambda: items.zcard(redis_queue.later_key(QUEUE)) == 1)
    everything = str([items.dump(key) for key in items.scan_iter("*") if items.type(key) != "none"])
    waiting = str(items.zrange(redis_queue.later_key(QUEUE), 0, -1))
    assert old["conversation_id"] in waiting
    for secret in ("hush", "5511999990000", "http://x"):
        assert secret not in waiting and secret not in everything


# --- asking once ----------------------------------------------------------------------------------


async def test_the_same_request_is_one_item(items: redis.Redis, quick: Any) -> None:
    conversation = ask()
    assert redis_queue.enqueue_once(QUEUE, {"conversation_id": conversation}) == "asked"
    assert items.llen(QUEUE) == 1
    assert redis_queue.enqueue_once(
        redis_queue.REDIS_QUEUE_FETCH_CONTACT_NAME, {"conversation_id": conversation}
    ) == ("queued")


async def test_a_done_request_is_not_repeated_for_a_while(jobs: Jobs, items: redis.Redis, quick: Any) -> None:
    quick.CHAT_LIST_SAME_SECONDS = 0.4
    conversation = ask()
    async with running():
        await until(lambda: at_rest(items) and jobs.seen == [conversation])
        await until(lambda: redis_queue.enqueue_once(QUEUE, {"conversation_id": conversation}) == "queued")


async def test_a_full_list_takes_no_more(items: redis.Redis, quick: Any) -> None:
    quick.CHAT_LIST_MAXLEN = 2
    ask()
    ask()
    conversation = str(uuid4())
    assert redis_queue.enqueue_once(QUEUE, {"conversation_id": conversation}) == "full"
    items.rpop(QUEUE)
    assert redis_queue.enqueue_once(QUEUE, {"conversation_id": conversation}) == "queued"


# --- dying ----------------------------------------------------------------------------------------


async def dead_consumer(items: redis.Redis, *texts: str, silent_ms: int = 60_000) -> str:
    """A consumer that took these, in this order, and was killed."""
    name = f"dead{uuid4().hex[:6]}"
    for text in texts:
        items.lpush(redis_queue.hand_key(QUEUE, name), text)
    seconds, micros = items.time()
    items.zadd(redis_queue.hands_key(QUEUE), {name: seconds * 1000 + micros // 1000 - silent_ms})
    return name


def text_of(conversation: str, **meta: Any) -> str:
    return redis_queue.encode({"conversation_id": conversation, **({"meta": meta} if meta else {})})


async def test_what_a_dead_consumer_held_is_done_in_its_order(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    quick.CHAT_LIST_CONCURRENCY = 1
    held = [str(uuid4()) for _ in range(5)]
    name = await dead_consumer(items, *map(text_of, held))
    async with running():
        await until(lambda: at_rest(items) and len(jobs.seen) == 5)
        await until(lambda: items.zscore(redis_queue.hands_key(QUEUE), name) is None)
    assert jobs.seen == held
    assert not items.exists(redis_queue.hand_key(QUEUE, name))


async def test_a_living_consumer_keeps_what_it_holds(jobs: Jobs, items: redis.Redis) -> None:
    name = await dead_consumer(items, text_of(str(uuid4())), silent_ms=0)
    other = Hands(QUEUE, name)
    me = Hands(QUEUE, "me")
    for _ in range(5):
        await other.look_around()
        assert name not in await me.look_around()
    text = (await other.held())[0]
    assert not await me.give_back_of(name, text, text, 0), "the script itself must look at the sign of life"
    assert await other.held() == [text]


async def test_two_reapers_return_an_item_once(items: redis.Redis, jobs: Jobs) -> None:
    text = text_of(str(uuid4()))
    name = await dead_consumer(items, text)
    done = [await Hands(QUEUE, one).give_back_of(name, text, text, 0) for one in ("a", "b")]
    assert done == [True, False] and items.lrange(QUEUE, 0, -1) == [text]


async def test_a_consumer_that_comes_back_from_the_dead_takes_nothing_out_of_other_hands(
    items: redis.Redis, jobs: Jobs
) -> None:
    """SIGSTOP, its items returned and taken by another, SIGCONT: what it then says of them counts for nothing."""
    text = text_of(str(uuid4()))
    name = await dead_consumer(items, text)
    zombie, other = Hands(QUEUE, name), Hands(QUEUE, "other")
    await other.give_back_of(name, text, text, 0)
    client = redis_hands._client()
    assert await other.take(client, 1, 1) == [text]
    await zombie.done([text])
    assert not await zombie.put_off(text, text, 0)
    assert await zombie.give_back([text]) == 0
    assert await other.held() == [text] and items.llen(QUEUE) == 0


async def test_an_item_that_kills_its_consumer_each_time_is_buried(
    jobs: Jobs, items: redis.Redis, quick: Any
) -> None:
    quick.CHAT_LIST_MAX_RETRIES = 3
    conversation = str(uuid4())
    await dead_consumer(items, text_of(conversation, tries=2, first_at=1.7e9))
    async with running():
        await until(lambda: items.llen(DEAD) == 1)
        await until(lambda: at_rest(items))
    assert jobs.seen == []
    (letter,) = redis_queue.get_dead_items()
    assert (letter["reason"], letter["tries"]) == ("worker_died", 3)


async def test_hands_that_a_flush_struck_off_the_register_are_found(jobs: Jobs, items: redis.Redis) -> None:
    conversation = str(uuid4())
    name = await dead_consumer(items, text_of(conversation))
    items.delete(redis_queue.hands_key(QUEUE))
    assert await Hands(QUEUE, "me").find_lost_hands() == 1
    assert items.zscore(redis_queue.hands_key(QUEUE), name) is not None
    async with running():
        await until(lambda: jobs.seen == [conversation])


async def test_a_stop_gives_back_what_is_not_done_in_time(jobs: Jobs, items: redis.Redis, quick: Any) -> None:
    quick.CHAT_DRAIN_SECONDS = 0.1
    began = asyncio.Event()

    async def for_ever(*_: Any) -> str:
        began.set()
        await asyncio.Event().wait()
        return ""

    jobs.answer = for_ever
    conversation = ask()
    async with running():
        await asyncio.wait_for(began.wait(), 5)
    assert [json.loads(text) for text in items.lrange(QUEUE, 0, -1)] == [{"conversation_id": conversation}]
    assert items.keys(f"{redis_queue.LISTS_PREFIX}hand*") == []


async def test_what_was_done_while_redis_was_away_is_not_done_again(
    jobs: Jobs, items: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item is struck off when Redis is back; meanwhile its presence in the hand is no reason to repeat it."""
    away, done = asyncio.Event(), Hands.done

    async def refused(self: Hands, texts: Any) -> None:
        if away.is_set():
            raise redis.exceptions.ConnectionError("away")
        await done(self, texts)

    away.set()
    monkeypatch.setattr(Hands, "done", refused)
    ask()
    async with running() as worker:
        await until(lambda: len(jobs.seen) == 1)
        worker._doubt = True
        await until(lambda: not worker._doubt)
        away.clear()
        await until(lambda: at_rest(items))
    assert len(jobs.seen) == 1


async def test_redis_away_when_an_item_is_to_be_put_off(
    jobs: Jobs, items: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, put_off = [], Hands.put_off

    async def refused_once(self: Hands, *arguments: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise redis.exceptions.ConnectionError("away")
        return await put_off(self, *arguments)

    async def second_time(*_: Any) -> str:
        if len(jobs.seen) < 3:
            raise TryAgain("http_500")
        return "same"

    monkeypatch.setattr(Hands, "put_off", refused_once)
    jobs.answer = second_time
    ask()
    async with running():
        await until(lambda: len(jobs.seen) == 3 and at_rest(items))


async def test_an_outage_is_one_line_and_the_loop_lives(
    jobs: Jobs, quick: Any, items: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with servers.valkey() as server:
        quick.CHAT_QUEUE_REDIS_URL = with_database(server.url, 2)
        async with running():
            first = ask()
            await until(lambda: jobs.seen == [first])
            server.kill()
            await until(lambda: redis_queue.outage.down)
            await asyncio.sleep(0.5)  # time for every part of the loop to notice
            server.start()
            await until(lambda: not redis_queue.outage.down)
            second = ask()
            await until(lambda: jobs.seen[-1] == second)
    said = [record.getMessage() for record in caplog.records if record.name == "apps.chat.redis_queue"]
    assert said == ["Redis (lists) is away", "Redis (lists) is back"]
