"""Runs the tests: on PostgreSQL with the system's Redis, then everything on SQLite with Valkey.

    test.py [--quick] [--database both|sqlite|postgresql] [pytest arguments]

The larger run comes last, so that its summary is the last line. Without PostgreSQL or Redis on the machine
the first run is left out, and told; with CI=true that is a failure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "backend"))

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def main() -> int:
    """Both runs, whatever the first one's end; the exit code of the first that failed."""
    parser = argparse.ArgumentParser(description="Run the tests.")
    parser.add_argument("--quick", action="store_true", help="only what takes seconds, on SQLite")
    parser.add_argument("--database", choices=["both", "sqlite", "postgresql"], default="both")
    options, rest = parser.parse_known_args()
    if options.quick:
        return _pytest("sqlite", "valkey", ["-m", "not slow and not browser", *rest])
    codes = []
    if options.database != "sqlite" and _second_half_possible(required=options.database == "postgresql"):
        codes.append(_pytest("postgresql", "redis", ["-m", "not browser and not any_database", *rest]))
    if options.database != "postgresql":
        codes.append(_pytest("sqlite", "valkey", rest))
    return next((code for code in codes if code), 0)


def _second_half_possible(required: bool) -> bool:
    """Whether PostgreSQL and Redis are here; told when they are not, and an error where they are required."""
    from testing import servers

    try:
        servers.postgresql_binary("initdb")
        servers.redis_binary()
    except servers.ServerMissing as missing:
        if IN_CI or required:
            sys.exit(f"The tests cannot run on PostgreSQL and Redis: {missing}")
        print(f"SKIPPED: the run on PostgreSQL and Redis. {missing}", flush=True)
        return False
    return True


def _pytest(database: str, redis: str, arguments: list[str]) -> int:
    """One run; pytest's exit code, where "no tests selected" counts as success."""
    print(f"\n=== tests on {database} with {redis} ===", flush=True)
    env = {**os.environ, "TEST_DATABASE": database, "REDIS_TEST_SERVER": redis}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    code = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=env).returncode
    return 0 if code == 5 else code


if __name__ == "__main__":
    sys.exit(main())
