"""A private RabbitMQ: slow to start (five to ten seconds), so share one per test session."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from testing.ports import spare_port
from testing.process import Process, ServerMissing
from testing.servers import directory_for


class RabbitServer(Process):
    """A RabbitMQ with one user, `guest`. `url` names its only virtual host.

    Erlang would start its name server, epmd, as a daemon that nobody stops: here it is a child of its own.
    """

    def __init__(self, directory: Path) -> None:
        self.port, names = spare_port(), spare_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(spare_port()),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
        }
        (directory / "plugins").write_text("[].\n")
        (directory / "rabbitmq.conf").write_text("log.console = true\nlog.console.level = warning\n")
        log = directory / "rabbitmq.log"
        self.names = Process("epmd", ["epmd", "-port", str(names)], log=directory / "epmd.log", env=env)
        super().__init__("rabbitmq", [rabbitmq_binary()], log=log, env=env, cwd=directory, grace=20)

    def launch(self) -> None:
        if not self.names.running:
            self.names.launch()
        super().launch()

    def ready(self) -> bool:
        return "completed with" in self.output()


def rabbitmq_binary() -> str:
    """RabbitMQ's own start script; the one on PATH may change the user."""
    own = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    found = str(own) if own.exists() else shutil.which("rabbitmq-server")
    if not found or not shutil.which("epmd"):
        raise ServerMissing("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server).")
    return found


@contextlib.contextmanager
def rabbitmq() -> Iterator[RabbitServer]:
    """A broker on a spare port."""
    rabbitmq_binary()
    with directory_for("rabbitmq") as path:
        server = RabbitServer(path)
        try:
            yield server.start(deadline=60)
        finally:
            server.stop()
            server.names.stop()
