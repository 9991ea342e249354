"""F1, F2, F6 and the streams' part of F7 and F8: queues without a database behind them."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from uuid import UUID

from bench import peers
from bench.bench import Bench
from bench.figures import percentile
from bench.world import WORKER_CORE, Program

JOB_SECONDS = 0.02
PER_SECOND = 50
SEND_STREAM = "chat:stream:send_message"
RAW_STREAM = "bench:raw"
ID = str(UUID("01890000-0000-7000-8000-000000000000"))


def drain(bench: Bench, turn: int) -> None:
    """`drain`, `waits`, `cpu`, `bulk`: raw and ours, one after the other."""
    for kind, jobs, wait in (("drain", bench.sizes.drain, 0.0), ("waits", bench.sizes.waits, JOB_SECONDS)):
        for name in ("raw", "ours"):
            bench.world.flush()
            filled = _fill(bench, name, jobs)
            result = run(_worker(bench, name, jobs=jobs, wait=wait))
            bench.samples.put(f"{kind}.{name}", turn, result["rate"])
            if kind == "drain":
                bench.samples.put(f"cpu.{name}", turn, result["cpu"])
                bench.samples.put(f"bulk.{name}", turn, filled["rate"])


def peers_drain(bench: Bench, turn: int) -> None:
    """`enqueue`, `drain`, `waits`, `cpu` of every peer that is installed. One that fails is left out from then on."""
    for peer in peers.PEERS:
        python = bench.peers.get(peer.name)
        if python is None:
            continue
        try:
            _one_peer(bench, turn, peer, python)
        except Exception as error:  # a peer's trouble must not end the run; it is told
            bench.notes.append(f"{peer.name} was left out: {str(error).splitlines()[0][:160]}")
            del bench.peers[peer.name]


def _one_peer(bench: Bench, turn: int, peer: peers.Peer, python: object) -> None:
    jobs = max(100, int(bench.sizes.peer_jobs * peer.share) // 50 * 50)
    url = bench.amqp_url if peer.amqp else bench.world.redis.url
    for kind, wait, count in (("drain", 0.0, jobs), ("waits", JOB_SECONDS, max(100, jobs // 4 // 50 * 50))):
        bench.world.flush()
        given = {"url": url, "jobs": count, "wait": wait}
        program = peers.program(peer.name)
        filled = run(bench.world.alone(str(python), program, "fill", WORKER_CORE, **given))
        result = run(bench.world.alone(str(python), program, "work", WORKER_CORE, **given))
        bench.samples.put(f"{kind}.{peer.name}", turn, result["rate"])
        if kind == "drain":
            bench.samples.put(f"enqueue.{peer.name}", turn, filled["rate"])
            bench.samples.put(f"cpu.{peer.name}", turn, result["cpu"])


def long_stream(bench: Bench, turn: int) -> None:
    """`drain.long` and `wakeup.bytes`: the first jobs of a long stream."""
    bench.world.flush()
    waiting = bench.sizes.long_stream
    client = bench.world.streams()
    before = client.info("memory")["used_memory"]
    _fill(bench, "ours", waiting)
    bench.samples.put("wakeup.bytes", turn, (client.info("memory")["used_memory"] - before) / waiting)
    result = run(_worker(bench, "ours", jobs=min(bench.sizes.drain, waiting), wait=0.0))
    bench.samples.put("drain.long", turn, result["rate"])
    bench.world.flush()


def latency(bench: Bench, turn: int) -> None:
    """`latency`: 50 a second, from just before the XADD until the handler has it."""
    for name, stream, db in (("raw", RAW_STREAM, 0), ("ours", SEND_STREAM, 3)):
        bench.world.flush()
        jobs = bench.sizes.latency_seconds * PER_SECOND
        worker = _worker(bench, name, jobs=jobs, wait=0.0, latency=True)
        worker.start()
        try:
            worker.wait_for_line("ready", 20)
            _pace(bench, stream, db, jobs)
            waits = worker.result(20)["waits"]
        finally:
            worker.kill()
        warm = waits[PER_SECOND // 2 :]
        bench.samples.put(f"latency.{name}.p50", turn, percentile(warm, 0.5))
        bench.samples.put(f"latency.{name}.p99", turn, percentile(warm, 0.99))


def _pace(bench: Bench, stream: str, db: int, jobs: int) -> None:
    with bench.world.streams(db) as client:
        began = time.monotonic()
        for n in range(jobs):
            time.sleep(max(0.0, began + n / PER_SECOND - time.monotonic()))
            ids = {"message_id": str(UUID(int=time.time_ns())), "conversation_id": ID, "instance_id": ID}
            client.xadd(stream, {"payload": json.dumps(ids, separators=(",", ":"))})


def _fill(bench: Bench, name: str, jobs: int) -> dict[str, Any]:
    world = bench.world
    if name == "ours":
        return run(world.inside("stream_layer", "fill", json.dumps({"jobs": jobs}), database=bench.empty))
    given = {"url": world.redis.url, "jobs": jobs, "wait": 0}
    return run(world.alone(sys.executable, peers.program("raw"), "fill", WORKER_CORE, **given))


def _worker(bench: Bench, name: str, *, jobs: int, wait: float, latency: bool = False) -> Program:
    given = {"jobs": jobs, "wait": wait, "latency": latency}
    if name == "ours":
        return bench.world.inside("stream_layer", "work", json.dumps(given), database=bench.empty)
    return bench.world.alone(
        sys.executable, peers.program("raw"), "work", WORKER_CORE, url=bench.world.redis.url, **given
    )


def run(program: Program, deadline: float = 120) -> dict[str, Any]:
    """Start a program and wait for its result."""
    program.start()
    return program.result(deadline)
