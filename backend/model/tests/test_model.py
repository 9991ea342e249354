"""The protocol holds in the small worlds, and each guard is missed when it is taken out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model.check import Search
from model.worlds import BEYOND, GUARDS, SMALL, WORLDS

BACKEND = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("world", SMALL)
def test_the_protocol_holds(world: str) -> None:
    result = Search(SMALL[world]).run()
    assert result.broken is None, "\n".join([str(result.broken), *result.trace])
    assert result.complete


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_it_does_not(guard: str) -> None:
    world = replace(WORLDS[GUARDS[guard].world], without=frozenset([guard]))
    assert Search(world).run().broken is not None


@pytest.mark.parametrize("what", BEYOND)
def test_what_no_rule_closes_is_known(what: str) -> None:
    world = replace(SMALL[BEYOND[what].world], beyond=frozenset([what]))
    assert Search(world).run().broken is not None


def test_a_counterexample_is_the_shortest_and_starts_at_the_start() -> None:
    world = replace(SMALL["lane"], without=frozenset(["head_subselect"]))
    assert Search(world).run().trace == (
        "find_head: a worker finds m1",
        "find_head: a worker finds m2",
        "step: m1#1, queued -> sending",
        "step: m2#1, queued -> sending",
    )


def test_the_command_shows_a_counterexample_and_fails() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "model", "--without", "cancel_guard"],
        cwd=BACKEND,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "leaves after the person was told that it is stopped" in ran.stdout
