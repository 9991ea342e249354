"""`make run` as a person meets it: it comes up, says where, stops at once and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing import http
from testing.ports import spare_port
from testing.process import Process
from testing.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.any_database,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


class Run(Process):
    """`scripts/run.py` on spare ports, with its data in a directory of its own."""

    def __init__(self, directory: Path, **more: str) -> None:
        self.var, self.port = directory / "var", spare_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env = {
            **kept,
            "ALREA_VAR_DIR": str(self.var),
            "PORT": str(self.port),
            "SIM_PORT": str(spare_port()),
            "VALKEY_PORT": str(spare_port()),
            **more,
        }
        super().__init__(
            "run", [sys.executable, ROOT / "scripts/run.py"], log=directory / "log", env=env, cwd=ROOT
        )
        self.grace = 30

    def ready(self) -> bool:
        return "Stop " in self.output()

    def left_behind(self) -> list[str]:
        """Command lines of processes that belong to this run, itself included."""
        mark = f"ALREA_VAR_DIR={self.var}".encode()
        return [line for entry in Path("/proc").glob("[0-9]*") if (line := _command_line(entry, mark))]


def _command_line(entry: Path, mark: bytes) -> str:
    try:
        if mark not in (entry / "environ").read_bytes().split(b"\0"):
            return ""
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path) as run:
        yield run


def test_from_the_first_start_to_the_second(system: Run, tmp_path: Path) -> None:
    eventually(lambda: len(_conversations(system)) >= 2, within=30, what="two customers writing first")
    _assert_no_second_run_beside(tmp_path)
    _stop(system, signal.SIGTERM)
    system.start(deadline=15)
    assert len(_conversations(system)) >= 2, "the data is still there"
    _stop(system, signal.SIGINT)


def _conversations(system: Run) -> list[object]:
    who = {"email": "ana@demo.example", "password": "demo-only-123"}
    token = http.call("POST", f"{system.url}/api/auth/login/", who)["token"]
    headers = {"Authorization": f"Token {token}"}
    found: list[object] = http.call("GET", f"{system.url}/api/chat/conversations/", headers=headers)[
        "results"
    ]
    return found


def _assert_no_second_run_beside(directory: Path) -> None:
    second = Run(directory)
    second.log = directory / "second.log"
    second.launch()
    assert second.wait(10) == 1
    assert "`make run` is already running" in second.output()


def _stop(system: Run, number: signal.Signals) -> None:
    os.kill(system.pid, number)
    assert system.wait(15) == 0
    assert system.left_behind() == []


def test_when_a_part_dies_the_rest_stops_and_its_log_is_shown(system: Run) -> None:
    valkey = next(entry for entry in Path("/proc").glob("[0-9]*") if _is_valkey_of(system, entry))
    os.kill(int(valkey.name), signal.SIGKILL)
    assert system.wait(15) == 1
    assert "valkey ended with code -9. Last lines of" in system.output()
    assert system.left_behind() == []


def _is_valkey_of(system: Run, entry: Path) -> bool:
    line = _command_line(entry, f"ALREA_VAR_DIR={system.var}".encode())
    try:
        return "valkey-server" in line or str(system.var) in (entry / "cwd").resolve().as_posix()
    except OSError:
        return False


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = Run(tmp_path, PORT=str(port))
        run.launch()
        assert run.wait(10) == 1
    assert f"Port {port} is taken by another program: PORT={port + 1} make run" in run.output()
    assert "Traceback" not in run.output()


def test_a_redis_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    run = Run(tmp_path, REDIS_URL="redis://127.0.0.1:1/0")
    run.launch()
    assert run.wait(10) == 1
    assert "The Redis of REDIS_URL does not answer" in run.output()
    assert "Traceback" not in run.output()
