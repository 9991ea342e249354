"""Counts the jobs a worker has done, in whatever process or thread, and says how fast that went."""

import json
import multiprocessing
import sys
import threading
import time

PAYLOAD = "x" * 100


class Tally:
    """Made before any fork, so that children count in the same memory. The clock starts with the first job."""

    def __init__(self, jobs):
        self._jobs = jobs
        self._count = multiprocessing.Value("l", 0)
        self._first = multiprocessing.Value("d", 0.0)
        self._last = multiprocessing.Value("d", 0.0)
        self._cpu = None

    def one(self):
        """One job is done."""
        with self._count:
            self._count.value += 1
            if self._count.value == 1:
                self._first.value = time.time()
            if self._count.value == self._jobs:
                self._last.value = time.time()
        if self._cpu is None:
            self._cpu = time.process_time()

    @property
    def complete(self):
        return self._last.value > 0

    def tell(self):
        """Print the result."""
        span = max(self._last.value - self._first.value, 1e-9)
        cpu = time.process_time() - (self._cpu or 0.0)
        print(json.dumps({"rate": (self._jobs - 1) / span, "cpu": cpu / self._jobs * 1e6}), flush=True)

    def wait(self, seconds=120):
        """Wait for the last job in a thread that has nothing else to do."""
        end = time.monotonic() + seconds
        while not self.complete and time.monotonic() < end:
            time.sleep(0.01)
        if not self.complete:
            raise SystemExit(f"only {self._count.value} of {self._jobs} jobs in {seconds} s")

    def tell_and_leave(self):
        """For frameworks that do not let go: a thread that waits, prints, and ends the process."""

        def watch():
            import os

            try:
                self.wait()
                self.tell()
            finally:
                os._exit(0)

        threading.Thread(target=watch, daemon=True).start()


def asked():
    """What to do, and its options."""
    return sys.argv[1], json.loads(sys.argv[2])


def told(began, jobs):
    """Print how long it took to enqueue."""
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rate": jobs / seconds}), flush=True)
