"""The oracle: what the API accepted, against what WhatsApp got (the simulator's accept log) and what the rows say.

Texts are compared per customer, and counted: equal texts are told apart by how many there are.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final


class State(IntEnum):
    """`chat_delivery.state`, as it is in the database."""

    QUEUED = 0
    SENDING = 1
    VERIFYING = 2
    HELD = 3
    SENT = 10
    FAILED = 11
    CANCELLED = 12


MOVING: Final = frozenset({State.QUEUED, State.SENDING, State.VERIFYING})


@dataclass(frozen=True, slots=True)
class Owed:
    """A message the API has accepted."""

    id: str
    lane: str
    """The last eight digits of the customer's number."""
    text: str
    posted_at: float
    """Seconds since 1970, before the request."""
    seconds: float
    """How long the request took that got the 201."""


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery as the database shows it."""

    message: str
    conversation: str
    state: State
    reason: str
    seq: int
    tries: int
    attempts: int
    failure_gen: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One entry of the accept log."""

    lane: str
    text: str
    key_id: str
    at: float
    answered: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """All but `messages` and `accepted` must be 0; held and failed are for the scenario to judge.

    lost: the row says sent, or there is no row, and WhatsApp never got it. doubled: WhatsApp got it more often than it
    was written. out_of_order: messages that overtook an earlier one of their conversation. open: neither ended nor
    held, nor waiting behind a held one. mistold: told as failed, though WhatsApp got it.
    """

    messages: int
    accepted: int
    lost: int
    doubled: int
    out_of_order: int
    open: int
    mistold: int
    held: int
    failed: int

    def violations(self) -> list[str]:
        """The guarantees that did not hold."""
        guarded = ("lost", "doubled", "out_of_order", "open", "mistold")
        counts = asdict(self)
        return [f"{name} = {counts[name]}" for name in guarded if counts[name]]


def lane_of(number: str) -> str:
    """How customers are told apart: what every spelling of a Brazilian number ends in."""
    return number.partition("@")[0][-8:]


def judge(owed: Sequence[Owed], sent: Sequence[Sent], rows: Mapping[str, Row]) -> Verdict:
    """The verdict on a run."""
    states: dict[tuple[str, str], Counter[State | None]] = defaultdict(Counter)
    for message in owed:
        row = rows.get(message.id)
        states[message.lane, message.text][row.state if row else None] += 1
    got = Counter((entry.lane, entry.text) for entry in sent)
    lost = doubled = mistold = 0
    for key, counts in states.items():
        written = counts.total()
        lost += max(0, counts[State.SENT] + counts[None] - got[key])
        doubled += max(0, got[key] - written)
        mistold += max(0, min(got[key], written) - (written - counts[State.FAILED]))
    doubled += sum(count - 1 for key, count in got.items() if key not in states)
    by_state = Counter(rows[message.id].state for message in owed if message.id in rows)
    return Verdict(
        messages=len(owed),
        accepted=len(sent),
        lost=lost,
        doubled=doubled,
        out_of_order=_disorder(owed, sent, rows),
        open=len(moving(owed, rows)),
        mistold=mistold,
        held=by_state[State.HELD],
        failed=by_state[State.FAILED],
    )


def moving(owed: Iterable[Owed], rows: Mapping[str, Row]) -> list[Row]:
    """Rows that have not ended and do not wait for a person."""
    found = [rows[message.id] for message in owed if message.id in rows]
    blocked = {row.conversation: row.seq for row in found if row.state is State.HELD}
    return [
        row
        for row in found
        if row.state in MOVING and not (row.conversation in blocked and blocked[row.conversation] < row.seq)
    ]


def _disorder(owed: Sequence[Owed], sent: Sequence[Sent], rows: Mapping[str, Row]) -> int:
    """How many messages overtook an earlier one; a replayed one counts from its new place."""
    texts = Counter((message.lane, message.text) for message in owed)
    first: dict[tuple[str, str], int] = {}
    for place, entry in enumerate(sent):
        first.setdefault((entry.lane, entry.text), place)
    lanes: dict[str, list[Owed]] = defaultdict(list)
    for message in owed:
        if texts[message.lane, message.text] == 1:
            lanes[message.lane].append(message)
    return sum(_overtaken(lane, first, rows) for lane in lanes.values())


def _overtaken(lane: list[Owed], first: Mapping[tuple[str, str], int], rows: Mapping[str, Row]) -> int:
    """Rows must stand in the order they were written in, and WhatsApp must have got them in the rows' order."""
    stored = [(rows[message.id], message) for message in lane if message.id in rows]
    written = [row.seq for row, _ in stored if not row.failure_gen]
    stored.sort(key=lambda pair: pair[0].seq)
    keys = [(message.lane, message.text) for _, message in stored]
    return _descents(written) + _descents([first[key] for key in keys if key in first])


def _descents(numbers: Sequence[int]) -> int:
    return sum(later < earlier for earlier, later in itertools.pairwise(numbers))
