"""Seeded messages through the HTTP API, as a program that wants each of them delivered would post them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import httpx

from drill.oracle import Owed, lane_of

_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Lane:
    """A conversation with a customer."""

    conversation: str
    phone: str


@dataclass
class Ledger:
    """What the API has accepted, in the order of each conversation, and how it behaved."""

    owed: list[Owed] = field(default_factory=list)
    refusals: int = 0
    """Requests that got no 2xx, or no answer; each was repeated."""

    def slowest(self, since: float = 0.0, until: float = float("inf")) -> float:
        """The longest request begun in this span of time (seconds since 1970)."""
        return max((m.seconds for m in self.owed if since <= m.posted_at <= until), default=0.0)


class Poster:
    """Posts messages and keeps the ledger. Thread-safe."""

    def __init__(self, http: httpx.Client, ledger: Ledger) -> None:
        self._http, self._ledger = http, ledger

    def post(self, lane: Lane, text: str, give_up_after: float = 120) -> Owed:
        """Post until it is accepted: the same client_message_id again says that it is the same message.

        Raises:
            AssertionError: not accepted in time, or refused for good.
        """
        body = {
            "conversation": lane.conversation,
            "content": text,
            "client_message_id": uuid.uuid4().hex,
        }
        deadline = time.monotonic() + give_up_after
        while True:
            posted_at, began = time.time(), time.monotonic()
            answer = self._try(body)
            if answer is not None and answer.status_code in (200, 201):
                seconds = time.monotonic() - began
                owed = Owed(
                    answer.json()["id"].replace("-", ""), lane_of(lane.phone), text, posted_at, seconds
                )
                self._ledger.owed.append(owed)
                return owed
            self._ledger.refusals += 1
            if answer is not None and answer.status_code < 500:
                raise AssertionError(f"the API refused a message: {answer.status_code} {answer.text[:200]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the API accepted nothing for {give_up_after:g} s")
            time.sleep(_AGAIN_SECONDS)

    def _try(self, body: dict[str, str]) -> httpx.Response | None:
        try:
            return self._http.post("/api/chat/messages/", json=body)
        except httpx.HTTPError:
            return None


class Load:
    """Messages posted in the background: each lane's one after the other, lanes side by side.

    Use as a context manager: leaving waits until all are accepted.

    Args:
        plan: lane and text of each message, in the order they are to be written.
        rate: messages a second at most, all threads together; None is as fast as the API takes them.
    """

    def __init__(
        self,
        post: Callable[[Lane, str], Owed],
        plan: Sequence[tuple[Lane, str]],
        *,
        rate: float | None = None,
        threads: int = 4,
    ) -> None:
        self._post, self._rate = post, rate
        self.total, self.done = len(plan), 0
        self._began = 0.0
        self._errors: list[BaseException] = []
        self._changed = threading.Condition()
        places = {lane: place for place, lane in enumerate(dict.fromkeys(lane for lane, _ in plan))}
        shares: list[list[tuple[int, Lane, str]]] = [[] for _ in range(threads)]
        for n, (lane, text) in enumerate(plan):
            shares[places[lane] % threads].append((n, lane, text))
        self._threads = [
            threading.Thread(target=self._run, args=(share,), name=f"load {n}", daemon=True)
            for n, share in enumerate(shares)
            if share
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self.wait(1.0)

    def wait(self, share: float, within: float = 300) -> None:
        """Wait until this share of the messages is accepted; raises AssertionError when that takes too long."""
        wanted = min(self.total, round(self.total * share))
        with self._changed:
            arrived = self._changed.wait_for(lambda: self._errors or self.done >= wanted, within)
        if self._errors:
            raise AssertionError(f"the load stopped: {self._errors[0]}") from self._errors[0]
        if not arrived:
            raise AssertionError(f"the API accepted {self.done} of {wanted} messages in {within:g} s")

    @property
    def over(self) -> bool:
        """Whether all are accepted."""
        return self.done >= self.total or bool(self._errors)

    def _run(self, share: Sequence[tuple[int, Lane, str]]) -> None:
        try:
            for n, lane, text in share:
                if self._rate:
                    time.sleep(max(0.0, self._began + n / self._rate - time.monotonic()))
                self._post(lane, text)
                with self._changed:
                    self.done += 1
                    self._changed.notify_all()
        except BaseException as error:  # told to whoever waits: a thread has nobody to raise to
            with self._changed:
                self._errors.append(error)
                self._changed.notify_all()
