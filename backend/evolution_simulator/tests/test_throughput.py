"""The simulator must not be what a benchmark measures.

Its processor time is held to account, not the clock: the machine may be busy with other things.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evolution_simulator.http_client import HttpClient

_BACKEND = Path(__file__).parents[2]
_SENDS = 2000
_PER_SECOND = 300


class _Sink(asyncio.Protocol):
    """A webhook receiver that counts bodies and answers 200 without looking at them."""

    events: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, tail = self.rest.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(tail) < length:
                return
            self.rest = tail[length:]
            _Sink.events += 1
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]


async def _load(url: str) -> float:
    """Send with 20 callers at once; returns seconds for all sends and their three webhooks each."""
    _Sink.events = 0
    server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpClient()
    headers = [("apikey", "K"), ("Content-Type", "application/json")]
    hook = {
        "enabled": True,
        "url": f"http://127.0.0.1:{port}/",
        "events": ["SEND_MESSAGE", "MESSAGES_UPDATE"],
    }
    await client.request("POST", f"{url}/webhook/set/demo", headers, json.dumps({"webhook": hook}).encode())
    numbers = iter(range(_SENDS))
    began = time.monotonic()

    async def caller() -> None:
        for index in numbers:
            body = {"number": f"55129{index % 500:08d}", "text": f"message {index}"}
            answer = await client.request(
                "POST", f"{url}/message/sendText/demo", headers, json.dumps(body).encode()
            )
            assert answer.status == 201

    await asyncio.gather(*(caller() for _ in range(20)))
    async with asyncio.timeout(60):
        while _Sink.events < 3 * _SENDS:
            await asyncio.sleep(0.01)
    took = time.monotonic() - began
    client.close()
    server.close()
    return took


@pytest.mark.slow
async def test_it_carries_hundreds_of_sends_a_second(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evolution_simulator", "--api-key", "K", "--port", "0", "--demo"]
    command += ["--no-demo-greetings", "--log", str(tmp_path / "log.jsonl")]
    command += ["--delivery", "0", "0.02", "--read", "0", "0.02"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_BACKEND)}
    process = subprocess.Popen(command, cwd=_BACKEND, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        took = await _load(process.stdout.readline().split()[-1])
    finally:
        process.terminate()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    sys.stdout.write(f"\n{_SENDS / took:.0f} sends/s here, {_SENDS / cpu:.0f} per second of one core\n")
    assert cpu < _SENDS / _PER_SECOND
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == _SENDS
