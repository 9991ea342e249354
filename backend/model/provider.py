"""The outside: Evolution, WhatsApp, Redis and the clock. It may do anything that the times allow."""

from __future__ import annotations

from model.state import NOWHERE, VISIBLE, Bounds, Id, Record, Steps, World, name


def accepts(world: World, bounds: Bounds) -> Steps:
    """A POST is accepted, within D of its bytes; the answer is another matter."""
    for post in world.posts:
        left = tuple(other for other in world.posts if other != post)
        record = Record(
            post.id, fits=_fits(world, bounds, post.id), out_of_order=_out_of_order(world, post.id)
        )
        taken = world._replace(posts=left, records=tuple(sorted((*world.records, record))))
        yield f"provider: accepts {name(*post.id)}", taken
        heard = any((w.row, w.n) == post.id and w.doing == "out" for w in world.workers)
        if ("nowhere" in bounds.faults and heard) or "stored_nowhere" in bounds.beyond:
            lost = tuple(sorted((*world.records, record._replace(unseen=NOWHERE))))
            yield f"provider: accepts {name(*post.id)}, stores it nowhere", taken._replace(records=lost)


def _fits(world: World, bounds: Bounds, me: Id) -> tuple[Id, ...]:
    """T9: attempts with this text, stepped no longer than F + G + D ago."""
    text = world.rows[me[0]].attempts[me[1]].text
    window = sum(bounds.times[:3])
    late = "late_acceptance" in bounds.beyond
    return tuple(
        (i, n)
        for i, row in enumerate(world.rows)
        for n, attempt in enumerate(row.attempts)
        if attempt.text == text and attempt.provider_id is None and (attempt.age <= window or late)
    )


def _out_of_order(world: World, me: Id) -> bool:
    """Was a later message of the lane accepted before?"""
    row = world.rows[me[0]]
    seq = row.attempts[me[1]].seq
    others = [(world.rows[r], n) for r, n in (record.id for record in world.records) if r != me[0]]
    return any(other.lane == row.lane and other.attempts[n].seq > seq for other, n in others)


def refuses(world: World, bounds: Bounds) -> Steps:
    """A POST comes to nothing: refused, or lost on its way."""
    if "refuse" in bounds.faults:
        for post in world.posts:
            left = tuple(other for other in world.posts if other != post)
            yield f"provider: refuses {name(*post.id)}", world._replace(posts=left)


def shows(world: World, bounds: Bounds) -> Steps:
    """findMessages shows an accepted message, within V."""
    for record in world.records:
        if record.unseen >= 0:
            seen = (record._replace(unseen=VISIBLE) if other == record else other for other in world.records)
            yield f"provider: shows {name(*record.id)}", world._replace(records=tuple(seen))


def tick(world: World, bounds: Bounds) -> Steps:
    """Time passes, but not over what must have happened by now."""
    _, pause, decide, show = bounds.times
    if any(post.age >= decide for post in world.posts) and "late_acceptance" not in bounds.beyond:
        return
    if any(record.unseen >= show for record in world.records):
        return
    if (
        any(w.doing == "checked" and w.since >= pause for w in world.workers)
        and "long_pause" not in bounds.beyond
    ):
        return
    if _owes_an_answer(world, bounds):
        return
    cap = bounds.settle + 1
    yield (
        "time passes",
        world._replace(
            rows=tuple(
                row._replace(attempts=tuple(a._replace(age=min(a.age + 1, cap)) for a in row.attempts))
                for row in world.rows
            ),
            workers=tuple(
                w._replace(since=min(w.since + 1, pause)) if w.doing == "checked" else w
                for w in world.workers
            ),
            posts=tuple(post._replace(age=min(post.age + 1, decide)) for post in world.posts),
            records=tuple(r._replace(unseen=r.unseen + 1) if r.unseen >= 0 else r for r in world.records),
        ),
    )


def _owes_an_answer(world: World, bounds: Bounds) -> bool:
    """ "Failed after send" is assumed to be heard before SETTLE is over; that it may be lost is `stored_nowhere`."""
    if bounds.beyond:
        return False
    nowhere = {record.id for record in world.records if record.unseen == NOWHERE}
    return any(
        (w.row, w.n) in nowhere and world.rows[w.row].attempts[w.n].age >= bounds.settle
        for w in world.workers
        if w.doing == "out"
    )


def flushall(world: World, bounds: Bounds) -> Steps:
    """Redis forgets every wake-up."""
    if "flushall" in bounds.faults and any(world.woken):
        yield "FLUSHALL", world._replace(woken=(False,) * len(world.woken))
