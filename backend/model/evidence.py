"""Evidence and the resolver: T8 to T11, T17."""

from __future__ import annotations

from model.lane import finalize, prove, with_attempt
from model.state import VISIBLE, Bounds, Closed, Id, Look, Record, Row, State, Steps, World, name, put_row


def echo(world: World, bounds: Bounds) -> Steps:
    """The echo of an own send: at any time after the acceptance, any number of times, or never."""
    for record in world.records:
        after = bind_echo(world, bounds, record)
        if after != world:
            yield f"bind_echo: an echo of {name(*record.id)} arrives", after


def bind_echo(world: World, bounds: Bounds, record: Record) -> World:
    """T9: to exactly one attempt, open ones before those called not sent; else it is parked."""
    if bounds.on("unique_provider_id") and is_bound(world, record.id):
        return world
    unbound = [(me, world.rows[me[0]].attempts[me[1]]) for me in record.fits]
    still_open = [me for me, attempt in unbound if attempt.closed is None]
    here = still_open or [me for me, attempt in unbound if attempt.closed == Closed.NOT_SENT]
    if len(here) == 1 or (here and not bounds.on("exactly_one")):
        proven = tuple(r._replace(proven=True) if r.id == record.id else r for r in world.records)
        bound = prove(world._replace(records=proven), bounds, here[0], record.id)
        return bound._replace(parked=bound.parked - {record.id})
    return world._replace(parked=world.parked | {record.id}) if here else world


def is_bound(world: World, provider_id: Id) -> bool:
    """Does an attempt bear this id?"""
    return any(attempt.provider_id == provider_id for row in world.rows for attempt in row.attempts)


def claim_verifying(world: World, bounds: Bounds) -> Steps:
    """T8: a resolver takes a row that is due and asks findMessages, whose answer may be wrongly empty."""
    if world.look is not None:
        return
    shown = tuple(record.id for record in world.records if record.unseen == VISIBLE)
    for i, row in enumerate(world.rows):
        if row.state != State.VERIFYING:
            continue
        claimed = put_row(world, i, row._replace(fence=row.fence + 1))
        settled = is_settled(world, bounds, i)
        if settled or shown or not bounds.on("asked_after_settle"):  # any other question changes nothing
            asked = Look(i, row.fence + 1, settled, canary=True, found=shown)
            yield (
                f"claim_verifying: {name(i)}, asks{'' if settled else ' early'}",
                claimed._replace(look=asked),
            )
        if settled and "blind" in bounds.faults:
            asked = Look(i, row.fence + 1, settled, canary=False, found=())
            yield f"claim_verifying: {name(i)}, asks, the answer is empty", claimed._replace(look=asked)


def is_settled(world: World, bounds: Bounds, row: int) -> bool:
    """Is SETTLE over for each open attempt of the row?"""
    ages = [attempt.age for attempt in world.rows[row].open_attempts()]
    return all(age > bounds.settle for age in ages) or not bounds.on("settle")


def verdict(world: World, bounds: Bounds) -> Steps:
    """T9 to T11: the resolver decides by the answer it got, however long ago; or it dies."""
    look = world.look
    if look is None:
        return
    after = world._replace(look=None)
    if "crash" in bounds.faults:
        yield f"crash: the resolver of {name(look.row)} dies", after
    for record in world.records:
        if record.id in look.found:
            after = bind_echo(after, bounds, record)
    row = after.rows[look.row]
    if row.state == State.SENT:
        yield f"verdict: {name(look.row)} is proven sent", after
        return
    settled = look.settled if bounds.on("asked_after_settle") else is_settled(after, bounds, look.row)
    sure = (look.canary or not bounds.on("canary")) and not has_ambiguous(after, bounds, look.row)
    state, closes = State.VERIFYING, tuple[int, ...]()
    if settled and sure and not any(attempt.doubtful for attempt in row.open_attempts()):
        state = State.FAILED if row.tries >= bounds.retries else State.QUEUED
        closes = tuple(n for n, attempt in enumerate(row.attempts) if attempt.closed is None)
    elif settled:
        state = State.HELD
        after = after if bounds.on("doubt_without_fence") else _forget_doubt(after, look)
    said = {State.VERIFYING: "asks again later", State.HELD: "cannot tell: held"}.get(
        state, "is absent: not sent"
    )
    yield (
        f"verdict: {name(look.row)} {said}",
        finalize(after, bounds, (look.row, -1), look.fence, state, closes),
    )


def has_ambiguous(world: World, bounds: Bounds, row: int) -> bool:
    """Is evidence parked that may be one of the row's open attempts?"""
    parked = [record for record in world.records if record.id in world.parked]
    parked = [record for record in parked if not is_bound(world, record.id)]
    mine = {(row, n) for n, attempt in enumerate(world.rows[row].attempts) if attempt.closed is None}
    if bounds.on("ambiguity"):
        return any(mine & set(record.fits) for record in parked)
    return any(  # parked under the first of its lanes, compared with the text as it is now
        world.rows[record.fits[0][0]].lane == world.rows[row].lane
        and world.rows[record.id[0]].attempts[record.id[1]].text == world.rows[row].text
        for record in parked
    )


def _forget_doubt(world: World, look: Look) -> World:
    row = world.rows[look.row]
    if row.fence != look.fence or not row.attempts:
        return world
    last = len(row.attempts) - 1
    return put_row(world, look.row, with_attempt(row, last, row.attempts[last]._replace(doubtful=False)))


def record_ack_error(world: World, bounds: Bounds) -> Steps:
    """T17: WhatsApp rejects what was accepted. Failed, unless another attempt of the row got through, or may have."""
    if "reject" not in bounds.faults:
        return
    for i, row in enumerate(world.rows):
        for n, attempt in enumerate(row.attempts):
            if attempt.closed != Closed.ACCEPTED:
                continue
            after = with_attempt(row, n, attempt._replace(closed=Closed.ERROR))
            if after.state == State.SENT and not any(a.closed == Closed.ACCEPTED for a in after.attempts):
                after = _rejected(after, bounds)
            yield f"record_ack: {name(i, n)} is rejected by WhatsApp", put_row(world, i, after)


def _rejected(row: Row, bounds: Bounds) -> Row:
    if row.open_attempts() and bounds.on("rejected_and_open"):
        return row._replace(state=State.VERIFYING, fence=row.fence + 1)
    return row._replace(state=State.FAILED, failure_gen=row.failure_gen + 1)
