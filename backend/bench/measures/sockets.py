"""F9: many people who watch one tenant."""

from __future__ import annotations

import json
import sys
import time

from testing import servers
from testing.process import ServerError

from bench import machine
from bench.bench import Bench
from bench.measures.serving import web
from bench.measures.streams import run
from bench.world import SERVER_CORE, Program

EVENTS = 20
PAUSE_SECONDS = 0.2


def fanout(bench: Bench, turn: int) -> None:
    """`fanout`: from before the publishing until a socket has it; `socket.kb`: the server's memory for each."""
    world, tenant, count = bench.world, bench.empty.tenant, bench.sizes.sockets
    with web(bench, bench.empty) as server:
        before = machine.resident_mb(server.pid)
        tickets = world.directory / "tickets.json"
        asked = {"user": tenant["user_id"], "count": count}
        told = run(
            world.inside("fanout", "tickets", json.dumps(asked), database=bench.empty, core=SERVER_CORE)
        )
        tickets.write_text(json.dumps(told["tickets"]))
        seconds = EVENTS * PAUSE_SECONDS + 4
        given = {
            "port": server.port,
            "tenant": tenant["tenant_id"],
            "tickets": str(tickets),
            "seconds": seconds,
        }
        command = [sys.executable, "-m", "bench.sockets", json.dumps(given)]
        clients = Program("sockets", command, world.directory, servers.environment(), SERVER_CORE)
        clients.start()
        try:
            clients.wait_for_line("ready", 50)
            time.sleep(0.5)
            bench.samples.put("socket.kb", turn, (machine.resident_mb(server.pid) - before) * 1024 / count)
            asked = {"tenant": tenant["tenant_id"], "events": EVENTS, "pause": PAUSE_SECONDS}
            run(world.inside("fanout", "publish", json.dumps(asked), database=bench.empty, core=SERVER_CORE))
            told = clients.result(seconds + 10)
        finally:
            clients.kill()
    if told["received"] != (EVENTS + 1) * count:
        raise ServerError(f"{told['received']} of {(EVENTS + 1) * count} events arrived")
    bench.samples.put("fanout.p50", turn, told["ms"]["p50"])
    bench.samples.put("fanout.p95", turn, told["ms"]["p95"])
