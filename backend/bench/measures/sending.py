"""F3 and F10, and the worker's part of F7 and F8: the whole path of a message."""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
from collections.abc import Sequence
from typing import Any

import redis
from testing.process import ServerError

from bench import machine
from bench.bench import Bench
from bench.measures.streams import SEND_STREAM, run
from bench.world import WORKER_CORE, Database, wait_for, worker

LANES = 500
WARM = 256
DRAIN_SECONDS = 120
AT_ONCE = 5000


def whole_path(bench: Bench, turn: int) -> None:
    """`send.ours`, `cpu.send`, `worker.mb`, then `send.full`, the same with a full database."""
    for name, database in (("ours", bench.empty), ("full", bench.full)):
        told = send(bench, database, bench.sizes.sends, processes=1, core=WORKER_CORE)
        bench.samples.put(f"send.{name}", turn, told["rate"])
        bench.samples.put(f"cpu.send_{name}", turn, told["cpu"])
        if name == "ours":
            bench.samples.put("worker.mb", turn, told["mb"])


def scale_out(bench: Bench, turn: int) -> None:
    """`send.free` and `send.two`: one and two processes, bound to no core."""
    for name, processes in (("free", 1), ("two", 2)):
        told = send(bench, bench.empty, bench.sizes.sends, processes=processes, core=None)
        bench.samples.put(f"send.{name}", turn, told["rate"])


def yardsticks(bench: Bench, turn: int) -> None:
    """`send.seed` and `send.batched`."""
    counts = {"seed": bench.sizes.seed_sends, "batched": bench.sizes.batched_sends}
    for shape, count in counts.items():
        _queue(bench, bench.empty, count)
        bench.world.provider.reset()
        given = json.dumps({"shape": shape, "messages": count, "url": bench.world.provider.url})
        try:
            told = run(bench.world.inside("yardsticks", given, database=bench.empty))
        finally:
            # What the yardstick sent knows nothing of deliveries: they are settled here, not by the next worker.
            _settle(bench.empty)
        report = bench.world.provider.report()
        if report["count"] != count:
            raise ServerError(f"{shape}: {report['count']} of {count} messages arrived")
        bench.samples.put(f"send.{shape}", turn, report["rate"])
        bench.samples.put(f"cpu.send_{shape}", turn, told["cpu"])


def send(
    bench: Bench, database: Database, count: int, *, processes: int, core: int | None
) -> dict[str, float]:
    """Let workers send `count` messages that wait in the database and on the stream.

    Returns:
        `rate` per second, `cpu` microseconds of all workers for each send, `mb` of the largest of them.

    Raises:
        ServerError: not all were sent in time, or one of them twice.
    """
    world, more = bench.world, {"CHAT_SEND_CONCURRENCY": "512"} if core is not None else {}
    with contextlib.ExitStack() as stack:
        world.flush()
        workers = [stack.enter_context(worker(world, database, core, **more)) for _ in range(processes)]
        _wake(bench, database, _queue(bench, database, WARM))
        ids = _queue(bench, database, count)
        world.provider.reset()
        before = sum(machine.cpu_seconds(one.pid) for one in workers)
        _wake(bench, database, ids)
        report = world.provider.report()
        if report["count"] != count or report["doubled"]:
            raise ServerError(f"{report['count']} of {count} messages arrived, {report['doubled']} twice")
        return {
            "rate": report["rate"],
            "cpu": (sum(machine.cpu_seconds(one.pid) for one in workers) - before) / count * 1e6,
            "mb": max(machine.resident_mb(one.pid) for one in workers),
        }


def _queue(bench: Bench, database: Database, count: int) -> str:
    tag = f"t{secrets.token_hex(4)}"
    bench.world.seed(database, do="queued", tag=tag, messages=count, lanes=min(LANES, count))
    return tag


def _wake(bench: Bench, database: Database, tag: str) -> None:
    """Put the wake-ups on the stream, in the order of the lanes, and wait until all is done."""
    rows = database.ask(
        "SELECT d.message_id, d.conversation_id, d.instance_id FROM chat_delivery d "  # noqa: S608
        f"JOIN chat_message m ON m.id = d.message_id WHERE m.content LIKE '{tag}-%' AND d.live ORDER BY d.id"
    )
    client = bench.world.streams()
    add_wake_ups(client, rows)
    wait_for("the end of the stream", lambda: client.xlen(SEND_STREAM) == 0, DRAIN_SECONDS)
    left = "SELECT count(*) FROM chat_delivery WHERE live"
    wait_for("the last outcome", lambda: database.ask(left)[0][0] == 0, DRAIN_SECONDS)


def add_wake_ups(client: redis.Redis, rows: Sequence[tuple[Any, ...]]) -> None:
    """XADD what producers add, pipelined."""
    for start in range(0, len(rows), AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for message, conversation, instance in itertools.islice(rows, start, start + AT_ONCE):
            ids = {
                "message_id": str(message),
                "conversation_id": str(conversation),
                "instance_id": str(instance),
            }
            pipe.xadd(SEND_STREAM, {"payload": json.dumps(ids, separators=(",", ":"))})
        pipe.execute()


def _settle(database: Database) -> None:
    database.ask("UPDATE chat_delivery SET state = 10, finished_at = now() WHERE live RETURNING id")
