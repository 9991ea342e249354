"""What a person may do: T12 to T16. Each is one conditional UPDATE on the row that the step locks."""

from __future__ import annotations

from model.state import Bounds, Row, State, Steps, World, name, put_row, wake

ASKED = "asked"


def cancel(world: World, bounds: Bounds) -> Steps:
    """T12, T13: stopped while queued; in flight it is only asked for. What was told is a promise."""
    if "cancel" not in bounds.persons:
        return
    for i, row in enumerate(world.rows):
        if row.told == ASKED:
            yield (
                f"cancel: {name(i)}, the person is answered",
                put_row(world, i, row._replace(told=_answer(row))),
            )
        if row.told or row.state in (*State.FINISHED, State.HELD):
            continue
        if row.state == State.QUEUED or not bounds.on("cancel_guard"):
            told = _answer(row) if bounds.on("stopped_in_one") else ASKED
            stopped = row._replace(state=State.CANCELLED, fence=row.fence + 1, told=told)
            yield f"cancel: {name(i)}, answered {told!r}", wake(put_row(world, i, stopped), row.lane)
        elif row.state in State.IN_FLIGHT:
            yield (
                f"cancel: {name(i)}, pending",
                put_row(world, i, row._replace(cancel_requested=True, told="pending")),
            )


def _answer(row: Row) -> str:
    return "stopped_maybe" if row.open_attempts() else "stopped"


def edit(world: World, bounds: Bounds) -> Steps:
    """T14: a new text while queued or held; attempts keep the fingerprint of what they said."""
    if "edit" in bounds.persons:
        for i, row in enumerate(world.rows):
            if row.state in (State.QUEUED, State.HELD) and row.text == "A":
                yield f"edit: {name(i)}", put_row(world, i, row._replace(text="B"))


def release(world: World, bounds: Bounds) -> Steps:
    """T15: a held message is sent anyway (the person accepts a double), or discarded."""
    for i, row in enumerate(world.rows):
        if row.state != State.HELD:
            continue
        if "release" in bounds.persons and row.presses < bounds.presses:
            sent = row._replace(
                state=State.QUEUED,
                cancel_requested=False,
                fence=row.fence + 1,
                presses=row.presses + 1,
                told="",
            )
            yield f"release: {name(i)}, send anyway", wake(put_row(world, i, sent), row.lane)
        if "discard" in bounds.persons:
            gone = row._replace(state=State.CANCELLED, fence=row.fence + 1)
            yield f"release: {name(i)}, discarded", wake(put_row(world, i, gone), row.lane)


def replay(world: World, bounds: Bounds) -> Steps:
    """T16: a failed message again, at the end of its lane. A double click sends once: it names the failure it saw."""
    if "replay" not in bounds.persons:
        return
    for i, row in enumerate(world.rows):
        if row.click is not None:
            after = put_row(world, i, row._replace(click=None))
            if not bounds.on("replay_guard") or (row.state == State.FAILED and row.failure_gen == row.click):
                after = put_row(after, i, _replayed(world, bounds, row))
            yield f"replay: {name(i)}, the second click arrives", after
        elif (
            row.state == State.FAILED and row.failure_gen // 2 < bounds.presses
        ):  # it grows with failure and with replay
            known = row.presses + bool(
                row.open_attempts()
            )  # shown with the failure: an earlier try may have gone out
            pressed = _replayed(world, bounds, row)._replace(click=row.failure_gen, presses=known)
            yield f"replay: {name(i)}, double click", wake(put_row(world, i, pressed), row.lane)


def _replayed(world: World, bounds: Bounds, row: Row) -> Row:
    last = max(other.seq for other in world.rows if other.lane == row.lane)
    return row._replace(
        state=State.QUEUED,
        seq=last + 1 if bounds.on("new_seq") else row.seq,
        tries=0,
        fence=row.fence + 1,
        failure_gen=row.failure_gen + 1,
        cancel_requested=False,
        told="",
        click=None,
    )
