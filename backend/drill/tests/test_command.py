"""Short drills through the command, as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from testing.servers import BACKEND

from drill import scenarios
from drill.runner import chosen
from drill.scenario import SCENARIOS


def drill(*args: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "chat_drill", *args],
        cwd=BACKEND,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


FAULTS = ("kill-at-answer", "flushall-idle")


@pytest.mark.slow
@pytest.mark.any_database
def test_short_drills_end_well() -> None:
    wanted = [part for fault in FAULTS for part in ("--fault", fault)]
    done = drill(*wanted, "--seed", "5", "--messages", "40", "--json", timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["ok"], told["seed"]) == (True, 5)
    assert [result["fault"] for result in told["results"]] == list(FAULTS)
    for result in told["results"]:
        assert result["verdict"]["messages"] >= 41
        assert {result["verdict"][name] for name in ("lost", "doubled", "out_of_order", "open")} == {0}
        assert f"--fault {result['fault']} --seed 5 --messages 40" in result["command"]


@pytest.mark.any_database
def test_an_unknown_fault_is_one_sentence() -> None:
    done = drill("--fault", "meteorite")
    assert done.returncode == 1
    assert "There is no scenario 'meteorite'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.any_database
def test_without_the_tools_of_development_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "drill.py").write_text("raise ModuleNotFoundError('gone', name='testing')\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from django.core.management import execute_from_command_line as run\n"
        "run(['manage.py', 'chat_drill', '--list'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=BACKEND,
        env={**os.environ, "PYTHONPATH": str(BACKEND)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "run `make install`" in done.stderr


def test_scenarios_are_found_by_number_name_and_beginning() -> None:
    scenarios.load()
    assert {one.number for one in chosen(["18", "19"])} == {18, 19}
    assert [one.name for one in chosen(["flushall"])] == ["flushall"]
    assert len(chosen(["kill-at"])) == 6
    assert len(chosen([])) == len(SCENARIOS)
    with pytest.raises(LookupError):
        chosen(["nothing"])


def test_every_scenario_says_what_it_does() -> None:
    scenarios.load()
    for one in SCENARIOS.values():
        assert one.fault
        assert one.databases
