"""The list worker as a process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from testing.process import Process
from testing.servers import BACKEND, environment


class ListWorker(Process):
    """`manage.py start_chat_consumer`; ready when its log says so."""

    def __init__(
        self, directory: Path, env: Mapping[str, str], *queues: str, name: str = "list-worker"
    ) -> None:
        args = [
            sys.executable,
            "manage.py",
            "start_chat_consumer",
            *(["--queues", *queues] if queues else []),
        ]
        log = directory / f"{name}.log"
        super().__init__(name, args, log=log, cwd=BACKEND, env=environment(env), grace=35)

    def ready(self) -> bool:
        return "list consumers ready" in self.output()
