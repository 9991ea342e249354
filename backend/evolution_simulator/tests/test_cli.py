"""The command line: ready line, signals, a taken port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

_BACKEND = Path(__file__).parents[2]


@contextmanager
def _started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "evolution_simulator", "--api-key", "K", *options]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_BACKEND)}
    process = subprocess.Popen(
        command, cwd=_BACKEND, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_cleanly(number: signal.Signals) -> None:
    with _started("--port", "0", "--demo", "--demo-token", "T") as (process, line):
        assert "ready" in line
        url = line.split()[-1]
        state = httpx.get(f"{url}/instance/connectionState/demo", headers={"apikey": "T"})
        assert state.json()["instance"]["state"] == "open"
        process.send_signal(number)
        assert process.wait(10) == 0


def test_it_ends_cleanly_while_a_request_hangs() -> None:
    with _started("--port", "0", "--demo", "--demo-token", "T") as (process, line):
        url = line.split()[-1]
        httpx.post(f"{url}/_control/faults", json={"preset": "hang", "hang_seconds": 60})
        body = {"number": "5511987650001", "text": "x"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/message/sendText/demo", json=body, headers={"apikey": "T"}, timeout=0.3)
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        command = [sys.executable, "-m", "evolution_simulator", "--api-key", "K"]
        command += ["--port", str(sock.getsockname()[1])]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_BACKEND)}
        ended = subprocess.run(command, cwd=_BACKEND, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("cannot listen on 127.0.0.1:")
    assert ended.stderr.count("\n") == 1


def test_it_imports_nothing_of_the_project() -> None:
    listing = "[m for m in sys.modules if m.split('.')[0] in ('apps', 'django')]"
    check = f"import sys, evolution_simulator.cli; print({listing})"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_BACKEND)}
    ended = subprocess.run([sys.executable, "-c", check], env=env, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
