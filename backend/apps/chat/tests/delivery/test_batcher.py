"""The database thread: what comes while a batch runs forms the next; finalizes go first; errors reach everybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.chat.delivery import batcher, lane
from apps.chat.delivery.batcher import BATCH, DatabaseThread
from apps.chat.delivery.lane import Busy, Final, Finalized
from apps.chat.models import Delivery

State = Delivery.State


def final(number: int) -> Final:
    return Final(id=number, n=1, fence=1, state=State.SENT, message=uuid4(), prov=f"3EB0{number}")


class Spy:
    """Stands in for the database: remembers batches, and can be held or made to fail."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []
        self.owners: set[int] = set()
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def _did(self, what: str, size: int) -> None:
        self.threads.add(threading.current_thread().name)
        self.batches.append((what, size))
        assert self.go_on.wait(5)
        if self.error is not None:
            raise self.error

    def step(self, lanes: Any, owner: int) -> list[Busy]:
        self.owners.add(owner)
        self._did("step", len(lanes))
        return [Busy(lane_id) for lane_id in lanes]

    def finalize(self, finals: list[Final]) -> list[Finalized]:
        self._did("finalize", len(finals))
        return [Finalized(one.id, one.state, 0, 0) for one in finals if one.id >= 0]


@pytest.fixture
async def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    made = Spy()
    monkeypatch.setattr(lane, "step", made.step)
    monkeypatch.setattr(batcher, "finalize", made.finalize)
    return made


@pytest.fixture
async def database(spy: Spy) -> AsyncIterator[DatabaseThread]:
    made = DatabaseThread(lambda: 42)
    yield made
    spy.go_on.set()
    made.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def held(spy: Spy, database: DatabaseThread) -> asyncio.Task[Any]:
    """One step that keeps the thread busy until `spy.go_on`."""
    spy.go_on.clear()
    busy = asyncio.create_task(database.step(uuid4()))
    await until(lambda: len(spy.batches) == 1)
    return busy


async def test_what_comes_meanwhile_forms_one_batch(spy: Spy, database: DatabaseThread) -> None:
    busy = await held(spy, database)
    waiting = [asyncio.create_task(database.step(uuid4())) for _ in range(20)]
    await asyncio.sleep(0)
    spy.go_on.set()
    await asyncio.gather(busy, *waiting)
    assert spy.batches == [("step", 1), ("step", 20)]
    assert spy.owners == {42}
    assert spy.threads == {"chat-database"}


async def test_a_batch_has_its_bound(spy: Spy, database: DatabaseThread) -> None:
    busy = await held(spy, database)
    waiting = [asyncio.create_task(database.step(uuid4())) for _ in range(BATCH + 10)]
    await asyncio.sleep(0)
    spy.go_on.set()
    await asyncio.gather(busy, *waiting)
    assert [size for _, size in spy.batches] == [1, BATCH, 10]


async def test_finalizes_run_before_steps(spy: Spy, database: DatabaseThread) -> None:
    """A step must see every outcome that was there before it."""
    busy = await held(spy, database)
    waiting = [asyncio.create_task(database.step(uuid4())) for _ in range(3)]
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(database.finalize(final(n))) for n in range(4)]
    await asyncio.sleep(0)
    spy.go_on.set()
    await asyncio.gather(busy, *waiting)
    assert spy.batches[1:] == [("finalize", 4), ("step", 3)]


async def test_each_caller_gets_its_own_answer(spy: Spy, database: DatabaseThread) -> None:
    busy = await held(spy, database)
    lanes = [uuid4() for _ in range(5)]
    waiting = [asyncio.create_task(database.step(lane_id)) for lane_id in lanes]
    ends = [asyncio.create_task(database.finalize(final(n))) for n in (3, -1, 5)]
    await asyncio.sleep(0)
    spy.go_on.set()
    await busy
    assert await asyncio.gather(*waiting) == [Busy(lane_id) for lane_id in lanes]
    assert [row and row.id for row in await asyncio.gather(*ends)] == [3, None, 5]


async def test_of_two_who_ask_for_one_lane_one_gets_it(spy: Spy, database: DatabaseThread) -> None:
    busy = await held(spy, database)
    place = uuid4()
    waiting = [asyncio.create_task(database.step(place)) for _ in range(2)]
    await asyncio.sleep(0)
    spy.go_on.set()
    await busy
    assert await asyncio.gather(*waiting) == [Busy(place), None]


async def test_an_error_reaches_everybody_in_the_batch_and_the_thread_lives(
    spy: Spy, database: DatabaseThread
) -> None:
    busy = await held(spy, database)
    waiting = [asyncio.create_task(database.step(uuid4())) for _ in range(3)]
    other = asyncio.create_task(database.call(lambda: "unharmed"))
    await asyncio.sleep(0)
    spy.error = OSError("the database is away")
    spy.go_on.set()
    answers = await asyncio.gather(busy, *waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * 4
    assert await other == "unharmed"
    spy.error = None
    place = uuid4()
    assert await database.step(place) == Busy(place)


async def test_an_error_of_a_call_is_its_callers_alone(spy: Spy, database: DatabaseThread) -> None:
    def broken() -> None:
        raise LookupError("mine")

    bad, good = database.call(broken), database.call(lambda: 1)
    answers = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(answers[0], LookupError)
    assert answers[1] == 1


async def test_a_caller_that_gave_up_is_no_error(spy: Spy, database: DatabaseThread) -> None:
    busy = await held(spy, database)
    gone, stays = (asyncio.create_task(database.step(uuid4())) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    spy.go_on.set()
    await asyncio.gather(busy, stays)
    assert gone.cancelled()


async def test_a_stop_finishes_what_was_submitted(spy: Spy, database: DatabaseThread) -> None:
    busy = await held(spy, database)
    waiting = [asyncio.create_task(database.finalize(final(n))) for n in range(3)]
    await asyncio.sleep(0)
    threading.Timer(0.05, spy.go_on.set).start()
    database.stop()
    await asyncio.gather(busy, *waiting)
    assert ("finalize", 3) in spy.batches
    with pytest.raises(RuntimeError):
        await database.step(uuid4())


@pytest.mark.django_db(transaction=True)
async def test_the_real_thing() -> None:
    """Steps and finalizes of many lanes through one thread, against the database."""
    from asgiref.sync import sync_to_async

    from apps.chat.tests.factories import accepted, make_conversation, make_instance, queue_many

    def rows() -> list[UUID]:
        instance = make_instance()
        lanes = [make_conversation(instance) for _ in range(10)]
        for conversation in lanes:
            queue_many(conversation, 3)
        return [conversation.pk for conversation in lanes]

    lanes = await sync_to_async(rows)()
    database = batcher.DatabaseThread(lambda: 1)
    order: dict[UUID, list[int]] = {lane_id: [] for lane_id in lanes}

    async def work(lane_id: UUID) -> None:
        while (step := await database.step(lane_id)) is not None:
            assert not isinstance(step, Busy)
            order[lane_id].append(step.id)
            assert (await database.finalize(accepted(step))) is not None

    try:
        await asyncio.gather(*map(work, lanes))
    finally:
        database.stop()
    assert all(len(ids) == 3 and ids == sorted(ids) for ids in order.values())
    assert await Delivery.objects.exclude(state=State.SENT).acount() == 0
