"""Two releases at once, as while one takes the other's place."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

from testing.servers import BACKEND

from drill.scenario import Drill, Skipped, scenario

# What may still run while this release comes up: a commit of this repository, moved on with each release.
PREVIOUS = "1de5fca07aa715b3e2ee9f52dc3f806e5641e5d5"


def unpack(reference: str, into: Path) -> Path:
    """The root of another release's code, taken from the repository's history.

    Raises:
        Skipped: there is no git, or the history does not reach back to it.
    """
    command = ["git", "-C", str(BACKEND.parent), "archive", "--format=tar", f"{reference}:{BACKEND.name}"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        raise Skipped(f"the repository's history does not hold {reference[:12]}, the other release") from None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(into, filter="data")
    return into


@scenario(
    32,
    "two-releases",
    "the release before and this one side by side: servers, workers, each killed over the other's work",
    "each reads what the other wrote (DRILL_OLD_RELEASE names another one)",
)
def two_releases(drill: Drill) -> None:
    old = unpack(os.environ.get("DRILL_OLD_RELEASE") or PREVIOUS, drill.world.directory / "old-release")
    drill.warm_up()
    elder = drill.world.another_web(old)
    drill.say("both releases' servers are up")
    half = drill.messages // 2
    first, second = drill.world.worker(backend=old), drill.worker()
    mine = drill.load(half, rate=30)
    theirs = drill.load(half, drill.lanes(12), rate=30, tenant=elder)
    with mine, theirs:
        for share, dying, code in (
            (0.25, first, "the old"),
            (0.5, second, "the new"),
            (0.75, first, "the old"),
        ):
            theirs.wait(share)
            dying.kill()
            drill.say(f"kill -9 of {code} release's worker")
            time.sleep(drill.world.times.dead)
            dying.launch()
    for worker in (first, second):
        worker.wait_ready(60)
    drill.settle()
    drill.check(first.running and second.running, "a worker ended by itself")
    for name, worker in (("sent_by_the_old", first), ("sent_by_the_new", second)):
        sent = worker.log.read_text().count("verdict=accepted")
        drill.figure(name, sent)
        drill.check(sent, f"{name} = 0: the drill did nothing")
