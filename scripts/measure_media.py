"""How much memory a media worker takes for many files of all sizes, from 1 kB to 60 MB.

    python scripts/measure_media.py [--files 500] [--largest 60000000] [--rabbitmq] [--seed 1]

A worker process of its own (SQLite, files on disk, an Evolution in this process that makes its answers as it sends
them) fetches all of them; its resident memory is looked at all the while. Prints one line; ends with 1 when a file did
not come, or the worker took more than 300 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

BACKEND = Path(__file__).resolve().parent.parent / "backend"
LIMIT_MB = 300


def main() -> int:
    options = _parsed()
    sys.path.insert(0, str(BACKEND))
    directory = Path(tempfile.mkdtemp(prefix="alrea-media-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        _prepare(directory, stack, rabbitmq=options.rabbitmq)
        return _measure(options, directory, stack)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--largest", type=int, default=60_000_000, help="bytes")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument(
        "--rabbitmq", action="store_true", help="through a private RabbitMQ, else from the database"
    )
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _prepare(directory: Path, stack: contextlib.ExitStack, *, rabbitmq: bool) -> None:
    """The environment this process and the worker share, and Django set up in it."""
    from testing import servers
    from testing.rabbitmq import rabbitmq as private_rabbitmq

    redis = stack.enter_context(servers.valkey())
    os.environ.update(
        ALREA_VAR_DIR=str(directory),
        DATABASE_URL=f"sqlite:///{directory / 'measure.sqlite3'}",
        REDIS_URL=redis.url,
        RABBITMQ_URL=stack.enter_context(private_rabbitmq()).url if rabbitmq else "",
        DJANGO_SETTINGS_MODULE="alrea_sense.settings",
        LOG_LEVEL="WARNING",
        CHAT_MEDIA_MAX_DOCUMENT_BYTES="200000000",
    )
    servers.manage("migrate", "--noinput", env=dict(os.environ))
    import django

    django.setup()


def _measure(options: argparse.Namespace, directory: Path, stack: contextlib.ExitStack) -> int:
    from apps.chat.media.wake import wake
    from apps.chat.models import MessageAttachment
    from apps.chat.tests.media.load import Load
    from apps.chat.tests.media.workers import Peak, ProcessWorker, resident_mb

    load = stack.enter_context(Load(random.Random(options.seed), options.files, options.largest))
    worker = ProcessWorker(directory, {**os.environ, "LOG_LEVEL": "INFO"}, options.concurrency)
    stack.enter_context(worker)
    idle, peak = resident_mb(worker.pid), Peak(worker.pid)
    began = time.monotonic()
    for row in load.rows():
        wake(row.pk, row.message_id)
    open_ones = MessageAttachment.objects.filter(status__in=["pending", "processing"])
    while open_ones.exists() and worker.running:
        time.sleep(0.2)
    seconds, most = time.monotonic() - began, peak.stop()
    done = MessageAttachment.objects.filter(status="completed").count()
    print(
        f"{done}/{options.files} files, {load.size / 1e6:.0f} MB in {seconds:.0f} s;"
        f" worker's memory: {idle:.0f} MB idle, {most:.0f} MB at most"
    )
    return int(done != options.files or most > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
