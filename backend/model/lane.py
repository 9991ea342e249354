"""Step, finalize, take over, sweep (T1, T4 to T7, T18), and what a worker does with a step (T2, T3)."""

from __future__ import annotations

from model.state import (
    NOWHERE,
    Attempt,
    Bounds,
    Closed,
    Id,
    Post,
    Row,
    State,
    Steps,
    Worker,
    World,
    name,
    put_row,
    put_worker,
    wake,
)


def find_head(world: World, bounds: Bounds) -> Steps:
    """T1, the sub-select: a worker sees the head of a woken lane. What it saw may be old when it updates."""
    idle = next((i for i, worker in enumerate(world.workers) if worker.doing == "idle"), None)
    if idle is None:
        return
    for lane, woken in enumerate(world.woken):
        if not woken:
            continue
        heads = _heads(world, bounds, lane)
        if not heads:
            yield (
                f"find_head: lane {lane + 1} has nothing to give, its wake-up is acknowledged",
                wake(world, lane, False),
            )
        for row in heads:
            found = Worker("found", row, fence=world.rows[row].fence)
            yield f"find_head: a worker finds {name(row)}", put_worker(world, idle, found)


def _heads(world: World, bounds: Bounds, lane: int) -> list[int]:
    mine = [i for i, row in enumerate(world.rows) if row.lane == lane]
    if bounds.on("open_attempt_rule") and any(
        attempt.age <= bounds.settle for i in mine for attempt in world.rows[i].open_attempts()
    ):
        return []
    live = sorted((world.rows[i].seq, i) for i in mine if world.rows[i].state not in State.FINISHED)
    first = live[:1] if bounds.on("head_subselect") else live
    return [i for _, i in first if world.rows[i].state == State.QUEUED]


def step(world: World, bounds: Bounds) -> Steps:
    """T1, the update: queued -> sending and the attempt, in one transaction.

    Its WHERE repeats state = queued and wake_at <= the statement's time. Whatever queues a row anew sets wake_at later
    than that, so the row is as it was found; here its unchanged fence says so.
    """
    for i, worker in enumerate(world.workers):
        if worker.doing != "found":
            continue
        row = world.rows[worker.row]
        if bounds.on("outer_recheck") and (row.state != State.QUEUED or row.fence != worker.fence):
            yield f"step: {name(worker.row)} is not as it was found", put_worker(world, i)
            continue
        n, fence = len(row.attempts), row.fence + 1
        stepped = row._replace(
            state=State.SENDING,
            fence=fence,
            tries=row.tries + 1,
            attempts=(*row.attempts, Attempt(row.text, row.seq)),
        )
        after = put_worker(world, i, Worker("stepped", worker.row, n, fence))
        yield f"step: {name(worker.row, n)}, queued -> sending", put_row(after, worker.row, stepped)


def send(world: World, bounds: Bounds) -> Steps:
    """T2, T3: the last look at the clock, then the bytes. A pause in between is shorter than G."""
    fence_window, pause = bounds.times[:2]
    for i, worker in enumerate(world.workers):
        me = name(worker.row, worker.n)
        if worker.doing == "checked":
            yield f"send: the bytes of {me} leave", _post(world, i)
        elif worker.doing == "stepped":
            age = world.rows[worker.row].attempts[worker.n].age
            if age > fence_window and bounds.on("self_fence"):
                yield f"may_send: no, {me} fences itself", _not_sent(put_worker(world, i), bounds, worker)
            elif pause or "long_pause" in bounds.beyond:
                yield f"may_send: yes for {me}", put_worker(world, i, worker._replace(doing="checked"))
            else:
                yield f"may_send: yes for {me}, its bytes leave", _post(world, i)


def _post(world: World, index: int) -> World:
    worker = world.workers[index]
    post = Post((worker.row, worker.n), stopped=world.rows[worker.row].told.startswith("stopped"))
    posted = world._replace(posts=tuple(sorted((*world.posts, post))))
    return put_worker(posted, index, worker._replace(doing="out", since=0))


def conclude(world: World, bounds: Bounds) -> Steps:
    """T4 to T6: what a worker hears, and when, and what it records. An answer may come late, a timeout at any time."""
    undecided = {post.id for post in world.posts}
    accepted = {record.id: record for record in world.records}
    for i, worker in enumerate(world.workers):
        if worker.doing != "out":
            continue
        me: Id = (worker.row, worker.n)
        free = put_worker(world, i)
        said = name(*me)
        if me in accepted and accepted[me].unseen == NOWHERE and not bounds.beyond:
            yield f"unclear: {said}, failed after send", doubt(free, bounds, worker)
            continue
        yield f"unclear: {said}, no answer", finalize(free, bounds, me, worker.fence, State.VERIFYING)
        if me in accepted:
            proven = tuple(r._replace(proven=True) if r.id == me else r for r in free.records)
            yield f"accepted: {said}, 201", prove(free._replace(records=proven), bounds, me, me, worker.fence)
        if (me not in accepted and me not in undecided) or (me in accepted and "false_no" in bounds.beyond):
            yield f"not_sent: {said}, a definite no", _not_sent(free, bounds, worker)


def _not_sent(world: World, bounds: Bounds, worker: Worker) -> World:
    row = world.rows[worker.row]
    state = State.FAILED if row.tries >= bounds.retries else State.QUEUED
    return finalize(world, bounds, (worker.row, worker.n), worker.fence, state, closes=(worker.n,))


def doubt(world: World, bounds: Bounds, worker: Worker) -> World:
    """T6 with an answer after which nothing may be stored: the attempt keeps the doubt, whoever holds the row now."""
    row = world.rows[worker.row]
    if bounds.on("doubt_without_fence") or row.fence == worker.fence:
        marked = row.attempts[worker.n]._replace(doubtful=True)
        world = put_row(world, worker.row, with_attempt(row, worker.n, marked))
    return finalize(world, bounds, (worker.row, worker.n), worker.fence, State.VERIFYING)


def with_attempt(row: Row, n: int, attempt: Attempt) -> Row:
    """The row with its n-th attempt as given."""
    return row._replace(attempts=(*row.attempts[:n], attempt, *row.attempts[n + 1 :]))


def finalize(
    world: World, bounds: Bounds, me: Id, fence: int, state: str, closes: tuple[int, ...] = ()
) -> World:
    """T5, T6, T10, T11: an outcome that is no proof needs the fence of its step; a closed attempt stays closed."""
    row = world.rows[me[0]]
    if row.state not in State.IN_FLIGHT or (row.fence != fence and bounds.on("fence_on_negatives")):
        return world
    for n in closes:
        if row.attempts[n].closed is None:
            row = with_attempt(row, n, row.attempts[n]._replace(closed=Closed.NOT_SENT))
    if state == State.QUEUED and row.cancel_requested:
        state = State.CANCELLED
    row = row._replace(
        state=state,
        fence=row.fence + (state not in State.FINISHED),
        failure_gen=row.failure_gen + (state == State.FAILED),
    )
    return wake(put_row(world, me[0], row), row.lane)


def prove(world: World, bounds: Bounds, me: Id, provider_id: Id, fence: int | None = None) -> World:
    """T4, T9: proof that this attempt went out. No fence, any state; but a rejected id proves nothing."""
    row = world.rows[me[0]]
    attempt = row.attempts[me[1]]
    stale = row.state not in State.IN_FLIGHT or (fence is not None and row.fence != fence)
    if attempt.provider_id is not None or (stale and not bounds.on("evidence_without_fence")):
        return world
    row = with_attempt(row, me[1], attempt._replace(closed=Closed.ACCEPTED, provider_id=provider_id))
    return wake(put_row(world, me[0], row._replace(state=State.SENT)), row.lane)


def crash(world: World, bounds: Bounds) -> Steps:
    """kill -9: what the worker held in its hands is gone."""
    nowhere = {record.id for record in world.records if record.unseen == NOWHERE and not bounds.beyond}
    if "crash" in bounds.faults:
        for i, worker in enumerate(world.workers):
            if worker.doing not in ("idle", "found") and (worker.row, worker.n) not in nowhere:
                yield f"crash: the worker of {name(worker.row, worker.n)} dies", put_worker(world, i)


def take_over(world: World, bounds: Bounds) -> Steps:
    """T7: the heartbeat is gone or the lease is over. It may be wrong: the worker may only be slow."""
    if not bounds.on("takeover"):
        return
    in_hand = {(worker.row, worker.fence) for worker in world.workers}
    for i, row in enumerate(world.rows):
        if row.state == State.SENDING and ("slow" in bounds.faults or (i, row.fence) not in in_hand):
            taken = row._replace(state=State.VERIFYING, fence=row.fence + 1)
            yield f"take_over: {name(i)}, sending -> verifying", put_row(world, i, taken)


def sweep(world: World, bounds: Bounds) -> Steps:
    """T18: a lane whose head is due is woken again, whatever became of its wake-ups."""
    if bounds.on("sweeper"):
        for lane, woken in enumerate(world.woken):
            if not woken and _heads(world, bounds, lane):
                yield f"sweep: lane {lane + 1} is woken", wake(world, lane)
