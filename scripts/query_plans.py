"""What PostgreSQL does for the common questions, on a million messages: what is read from end to end, what is sorted.

Starts private servers, fills a database and explains every statement as it is asked, with its real times. Takes two
minutes.

    query_plans.py [--messages 1000000] [--conversations 100000]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "backend"))

from bench.world import World  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Explain the common questions on a full database.")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--conversations", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alrea-plans-") as place, contextlib.ExitStack() as stack:
        world = World(stack, Path(place))
        database = world.database("filled", options.conversations)
        world.seed(database, do="history", messages=options.messages, conversations=options.conversations)
        plans = world.inside("plans", json.dumps({"token": database.tenant["token"]}), database=database)
        plans.start()
        plans.result(300)
        print("\n".join(line for line in plans.output().splitlines() if not line.startswith("{")))


if __name__ == "__main__":
    main()
