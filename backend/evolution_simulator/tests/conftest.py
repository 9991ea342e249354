"""Fixtures: one simulator per module, emptied before each test; a receiver per test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .support import Receiver, RunningSimulator

OWN = "5511900000000"
ANA = "5511990000001"
GROUP = "120363000000000001@g.us"
_ADMIN = {"id": "111111111111111@lid", "phoneNumber": f"{ANA}@s.whatsapp.net", "admin": "superadmin"}
_MEMBER = {"id": "222222222222222@lid", "phoneNumber": "5511990000002@s.whatsapp.net", "admin": None}
_THIRD = {"id": "5511990000003@s.whatsapp.net", "admin": "admin"}


@pytest.fixture(scope="module")
def _running() -> Iterator[RunningSimulator]:
    running = RunningSimulator()
    yield running
    running.stop()


@pytest.fixture
def running(_running: RunningSimulator) -> RunningSimulator:
    """A simulator without instances."""
    _running.control("POST", "reset", {"instances": True})
    return _running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def lab(running: RunningSimulator) -> RunningSimulator:
    """The instances, people and group the captures were recorded with."""
    running.create("lab-evo", "EVOLUTION", number="900000001")
    running.create("lab-evo2", "EVOLUTION", number="900000002")
    running.create("lab-baileys")
    running.create("lab-wa")
    running.open("lab-wa", OWN)
    picture = f"https://pps.example.com/{ANA}.jpg"
    running.control("POST", "customers", {"number": ANA, "name": "Ana Test", "picture": picture})
    running.control("POST", "groups", _group())
    return running


def _group() -> dict[str, Any]:
    people = [_ADMIN, _MEMBER, _THIRD]
    return {
        "jid": GROUP,
        "subject": "Lab Group",
        "owner": f"{ANA}@s.whatsapp.net",
        "desc": "synthetic",
        "participants": people,
    }
