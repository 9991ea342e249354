"""The people on the other side of WhatsApp: who exists, who reads, who answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .config import Range
from .numbers import USER_SUFFIX, canonical_digits, create_jid, exists_by_default, is_lid, local_part
from .shapes import Json

Answerer = Callable[[str, random.Random], str | None]


@dataclass(slots=True)
class Customer:
    """One person. Ranges are seconds; None means the simulator's own timing."""

    number: str
    name: str = ""
    exists: bool = True
    delivers: bool = True
    reads: bool = True
    answers: bool = False
    replies: list[str] = field(default_factory=list)
    """What they answer with, in turn; empty leaves it to `answerer`."""
    server_ack: bool = False
    """Whether a SERVER_ACK comes first; real ones mostly do not send it."""
    delivery_delay: Range | None = None
    read_delay: Range | None = None
    answer_delay: Range | None = None
    picture: str | None = None
    lid: str | None = None
    """Their `…@lid`, if WhatsApp addresses them by it."""
    lid_alt: bool = True
    """Whether a message from the LID carries the phone in `remoteJidAlt`."""
    has_chat: bool = False
    """Whether Evolution knows the chat from a history sync (adds a `chats.upsert` after each ack)."""
    answerer: Answerer | None = None
    said: int = 0

    @property
    def jid(self) -> str:
        """The phone JID WhatsApp knows them by."""
        return canonical_digits(self.number) + USER_SUFFIX

    def answer_to(self, text: str, rng: random.Random) -> str | None:
        """What they reply to a text, if they do."""
        if not self.answers:
            return None
        if self.replies:
            self.said += 1
            return self.replies[(self.said - 1) % len(self.replies)]
        return self.answerer(text, rng) if self.answerer else f"Recebi: {text}"

    def as_json(self) -> Json:
        """What the control API shows."""
        hidden = {"answerer", "said"}
        return {
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden},
            "jid": self.jid,
        }


@dataclass(frozen=True, slots=True)
class Resolved:
    """What WhatsApp says about a JID."""

    jid: str
    exists: bool
    customer: Customer | None


class Directory:
    """Everybody known by number or LID. The others exist, get, and read what they are sent."""

    def __init__(self) -> None:
        self.customers: dict[str, Customer] = {}
        self._lids: dict[str, str] = {}

    def put(self, customer: Customer) -> Customer:
        """Add a customer or replace the one of that number."""
        digits = local_part(customer.jid)
        self.customers[digits] = customer
        if customer.lid:
            self._lids[local_part(customer.lid)] = digits
        return customer

    def update(self, values: Json) -> Customer:
        """Add a customer from control API values, or change the named fields of a known one.

        Raises ValueError for a field that does not exist.
        """
        settable = {f.name for f in fields(Customer)} - {"answerer", "said"}
        if unknown := sorted(set(values) - settable):
            raise ValueError(f"unknown field: {', '.join(unknown)}")
        known = self.get(values["number"])
        return self.put(replace(known, **values) if known else Customer(**values))

    def get(self, number: str) -> Customer | None:
        """A customer by number, JID or LID."""
        if is_lid(number):
            return self.customers.get(self._lids.get(local_part(number), ""))
        return self.customers.get(canonical_digits(number))

    def someone(self, number: str) -> Customer:
        """The customer of a number; a nameless one if nobody was registered."""
        return self.get(number) or Customer(number=number)

    def resolve(self, number: str) -> Resolved:
        """Where a send to `number` goes, and whether somebody is there."""
        jid = create_jid(number)
        customer = self.get(jid)
        if customer is None:
            return Resolved(jid, is_lid(jid) or exists_by_default(jid), None)
        return Resolved(jid if is_lid(jid) else customer.jid, customer.exists, customer)

    def clear(self) -> None:
        """Forget everybody."""
        self.customers.clear()
        self._lids.clear()

    def as_json(self) -> list[Any]:
        """What the control API shows."""
        return [customer.as_json() for customer in self.customers.values()]
