"""A worker whose clock is wrong: a shim made on the spot tells it so. Without a C compiler it is left out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from drill.scenario import Drill, Skipped, scenario

# Only the calendar's clock is moved: the monotonic one cannot be set on any system.
_SHIM: Final = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long off(void) {
    const char *text = getenv("DRILL_CLOCK_OFFSET");
    return text ? atol(text) : 0;
}
int clock_gettime(clockid_t id, struct timespec *ts) {
    int failed = (int)syscall(SYS_clock_gettime, id, ts);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) ts->tv_sec += off();
    return failed;
}
int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    struct timespec ts;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (out) *out = ts.tv_sec;
    return ts.tv_sec;
}
"""


def _shim(directory: Path) -> Path:
    """The compiled shim; raises Skipped where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Skipped("no C compiler for a clock that is wrong")
    source, library = directory / "clock.c", directory / "clock.so"
    source.write_text(_SHIM)
    made = subprocess.run(  # noqa: S603
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], capture_output=True, text=True
    )
    if made.returncode:
        raise Skipped(f"the clock's shim does not compile here: {made.stderr.strip().splitlines()[-1]}")
    return library


# SQLite has no clock but its process's: there the database's clock is the worker's.
@scenario(30, "wrong-clocks", "one worker's clock ten minutes ahead, another's ten minutes behind",
          "no effect", databases=("postgresql",))  # fmt: skip
def wrong_clocks(drill: Drill) -> None:
    shim = _shim(drill.world.directory)
    drill.warm_up()
    workers = [drill.worker(LD_PRELOAD=str(shim), DRILL_CLOCK_OFFSET=offset) for offset in ("600", "-600")]
    drill.world.fault(preset="E22", probability=0.1)
    drill.world.fault(preset="E22", accept=False, times=5)
    with drill.load(lanes=24, rate=60) as load:
        load.wait(0.5)
        workers[0].kill()
        drill.say("the one ahead is killed")
    drill.settle()
    most = max(row.attempts for row in drill.rows().values())
    drill.figure("most_attempts", most)
