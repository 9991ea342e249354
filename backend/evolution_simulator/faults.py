"""Faults that can be switched on and off while the simulator runs.

Three kinds share one list: send faults (the default), answer faults on any other endpoint
(`match.endpoint`), and webhook faults (those with a `webhook` action).
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from .http import Reply
from .numbers import canonical_digits, local_part
from .presets import PRESETS
from .shapes import Json, error_body
from .webhooks import Disturbance

SENDS = "message/*"
NORMAL = "normal"
RESET = "reset"
HANG = "hang"
EMPTY = "empty"

_WEBHOOK_ACTIONS = frozenset({"drop", "duplicate", "delay", "shuffle"})
_ECHOES = frozenset({"normal", "before", "after", "none"})


class FaultError(ValueError):
    """A fault description the control API cannot accept; the text says why."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests or events a fault is about; everything given must hold."""

    endpoint: str | None = None
    instance: str | None = None
    number: str | None = None
    text_regex: str | None = None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One request looking for its fault. `number` is as the caller wrote it."""

    endpoint: str
    instance: str
    number: str | None = None
    text: str | None = None


@dataclass(slots=True)
class Fault:
    """One fault. Times are seconds; `times` None means until it is deleted."""

    id: int
    match: Match
    preset: str | None = None
    times: int | None = None
    probability: float = 1.0
    accept: bool = True
    """Whether WhatsApp gets the message, whatever is answered."""
    answer: Any = NORMAL
    """`normal`, `reset`, `hang`, `empty` (find endpoints) or {"status": int, "body"?: any}."""
    hang_seconds: float = 120.0
    delay: float = 0.0
    """Before accepting."""
    answer_delay: float = 0.0
    """Between accepting and answering."""
    echo: str = "normal"
    """The `send.message` webhook: normal, before or after the answer, none."""
    persist: bool = True
    """Whether findMessages will show the message; without a row there are no acks either."""
    acks: list[str] | None = None
    """The statuses WhatsApp reports instead of the customer's usual ones."""
    webhook: str | None = None
    """drop, duplicate, delay or shuffle: makes this a webhook fault."""
    seconds: float = 1.0
    """How long a webhook is delayed, or the window it is shuffled in."""
    fired: int = 0
    text_pattern: re.Pattern[str] | None = field(default=None, repr=False)

    def as_json(self) -> Json:
        """What the control API shows."""
        shown = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"match", "text_pattern"}
        }
        match = {f.name: getattr(self.match, f.name) for f in fields(self.match)}
        return {**shown, "match": {name: value for name, value in match.items() if value is not None}}

    def covers(self, subject: Subject) -> bool:
        """Whether the request is one this fault is about."""
        match = self.match
        return (
            _endpoint_matches(match.endpoint or SENDS, subject.endpoint)
            and match.instance in {None, subject.instance}
            and (match.number is None or _same_number(match.number, subject.number))
            and (self.text_pattern is None or bool(self.text_pattern.search(subject.text or "")))
        )

    def reply(self, subject: Subject, jid: str) -> Reply:
        """The canned answer of a fault whose `answer` is a status."""
        status = int(self.answer["status"])
        if "body" not in self.answer:
            return Reply(status, error_body(status, [f"simulated {status}"]))
        return Reply(status, _filled(self.answer["body"], subject, jid))


class FaultBook:
    """The faults in force, tried in the order they were added."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ids = itertools.count(1)
        self._faults: list[Fault] = []

    def add(self, spec: Json) -> Fault:
        """Put a fault in force. Raises FaultError when the description makes no sense."""
        fault = _build(next(self._ids), spec)
        self._faults.append(fault)
        return fault

    def all(self) -> list[Fault]:
        """Every fault, spent ones included."""
        return list(self._faults)

    def remove(self, fault_id: int | None = None) -> int:
        """Take one fault (or all) out of force; returns how many."""
        before = len(self._faults)
        self._faults = [fault for fault in self._faults if fault_id is not None and fault.id != fault_id]
        return before - len(self._faults)

    def take(self, subject: Subject) -> Fault | None:
        """The fault that strikes this request, if any; counts as one of its times."""
        for fault in self._faults:
            if fault.webhook is None and fault.covers(subject) and self._strikes(fault):
                return fault
        return None

    def disturb(self, event: str, instance: str) -> Disturbance:
        """What the webhook faults do to one event."""
        delays: tuple[float, ...] = (0.0,)
        for fault in self._faults:
            if fault.webhook is None or not _event_matches(fault.match, event, instance):
                continue
            if self._strikes(fault):
                delays = self._disturbed(fault, delays)
        return Disturbance(delays)

    def _disturbed(self, fault: Fault, delays: tuple[float, ...]) -> tuple[float, ...]:
        if fault.webhook == "drop":
            return ()
        if fault.webhook == "duplicate":
            return tuple(itertools.chain(delays, (delay + fault.seconds for delay in delays)))
        if fault.webhook == "delay":
            return tuple(delay + fault.seconds for delay in delays)
        return tuple(delay + self._rng.uniform(0, fault.seconds) for delay in delays)

    def _strikes(self, fault: Fault) -> bool:
        if fault.times is not None and fault.fired >= fault.times:
            return False
        if fault.probability < 1 and self._rng.random() >= fault.probability:
            return False
        fault.fired += 1
        return True


def _build(fault_id: int, spec: Json) -> Fault:
    name = spec.get("preset")
    if name is not None and name not in PRESETS:
        raise FaultError(f"unknown preset {name!r}; known: {', '.join(sorted(PRESETS))}")
    preset = PRESETS[name] if name else {}
    merged = {**preset, **spec, "match": {**preset.get("match", {}), **(spec.get("match") or {})}}
    merged.update(_evidence(merged.pop("evidence", None)))
    known = {f.name for f in fields(Fault)} - {"id", "fired", "text_pattern"}
    _refuse_unknown(set(merged) - known, "field")
    _refuse_unknown(set(merged["match"]) - {f.name for f in fields(Match)}, "match field")
    fault = Fault(fault_id, **{**merged, "match": Match(**merged["match"])})
    _check(fault)
    fault.text_pattern = _pattern(fault.match.text_regex)
    return fault


def _evidence(wanted: bool | None) -> Json:
    """`evidence` is shorthand for: does anything ever show that the message went out?"""
    if wanted is None:
        return {}
    return {"echo": "normal" if wanted else "none", "persist": wanted, "acks": None if wanted else []}


def _refuse_unknown(names: Iterable[str], what: str) -> None:
    unknown = sorted(names)
    if unknown:
        raise FaultError(f"unknown {what}: {', '.join(unknown)}")


def _check(fault: Fault) -> None:
    if fault.webhook is not None and fault.webhook not in _WEBHOOK_ACTIONS:
        raise FaultError(f"webhook must be one of {', '.join(sorted(_WEBHOOK_ACTIONS))}")
    if fault.echo not in _ECHOES:
        raise FaultError(f"echo must be one of {', '.join(sorted(_ECHOES))}")
    if isinstance(fault.answer, dict):
        if not isinstance(fault.answer.get("status"), int):
            raise FaultError("answer needs an integer status")
    elif fault.answer not in (NORMAL, RESET, HANG, EMPTY):
        raise FaultError("answer must be normal, reset, hang, empty or an object with a status")
    if fault.answer in (NORMAL, EMPTY) and not fault.accept:
        raise FaultError("a normal answer cannot be given for a message that is not accepted")


def _pattern(text_regex: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(text_regex) if text_regex is not None else None
    except re.error as error:
        raise FaultError(f"text_regex: {error}") from error


def _endpoint_matches(pattern: str, endpoint: str) -> bool:
    return fnmatchcase(endpoint, pattern) or endpoint.endswith("/" + pattern)


def _same_number(wanted: str, given: str | None) -> bool:
    return given is not None and (wanted == given or canonical_digits(wanted) == canonical_digits(given))


def _event_matches(match: Match, event: str, instance: str) -> bool:
    return match.instance in {None, instance} and (match.event is None or fnmatchcase(event, match.event))


def _filled(body: Any, subject: Subject, jid: str) -> Any:
    """A canned body with $jid, $number and $instance put in."""
    text = json.dumps(body)
    if "$" not in text:
        return body
    for name, value in (
        ("$jid", jid),
        ("$number", subject.number or local_part(jid)),
        ("$instance", subject.instance),
    ):
        text = text.replace(name, json.dumps(value)[1:-1])
    return json.loads(text)
