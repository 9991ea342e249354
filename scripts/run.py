"""`make run`: the whole system on this machine, without any server installed.

An embedded Valkey (unless REDIS_URL names a Redis), SQLite (unless DATABASE_URL names a PostgreSQL), the
Evolution simulator with customers who answer, a demo tenant, and the web server with the workers inside.
Everything listens on the loopback; data and logs are in `var/`. Ctrl-C stops it all.

    PORT=8000  SIM_PORT=8090  VALKEY_PORT=6390   where things listen
    --only simulator | worker                    one part, in the foreground
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "backend"))

import redis  # noqa: E402
from apps.chat.evolution import webhook_events  # noqa: E402
from supervisor import Stopped, Supervisor, stop_on_signals  # noqa: E402
from testing import ports, servers  # noqa: E402

VAR = Path(os.environ.get("ALREA_VAR_DIR") or ROOT / "var").resolve()
LOGS = VAR / "log"
STATE = VAR / "run.json"
GREETED = VAR / "greeted"

TENANT, INSTANCE = "Demo", "demo"
AGENTS = ("ana@demo.example", "bruno@demo.example")
PASSWORD = "demo-only-123"  # noqa: S105  (for a system that only this machine can reach)
DRAIN_SECONDS = 5


class Refused(Exception):
    """The system cannot start as asked; the text is a sentence for the person who started it."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the whole system on this machine.")
    parser.add_argument("--only", choices=["simulator", "worker"], help="only this part, in the foreground")
    only = parser.parse_args().only
    if only == "simulator":
        run_simulator()
    if only == "worker":
        run_worker()
    os.environ.pop("DEBUG", None)
    stop_on_signals()
    try:
        with _only_one_here():
            _run_until_stopped()
    except Stopped as stopped:
        say(f"Stopped ({stopped}).")
    except (Refused, servers.ServerError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _run_until_stopped() -> NoReturn:
    supervisor = Supervisor(say)
    try:
        System(supervisor).start()
        supervisor.watch()
    finally:
        say("Stopping.")
        supervisor.stop()
        STATE.unlink(missing_ok=True)


def say(line: str) -> None:
    print(line, flush=True)


def _port(name: str, default: int) -> int:
    """The port named by an environment variable."""
    raw = os.environ.get(name) or str(default)
    if not raw.isdigit() or not 0 < int(raw) < 65536:
        raise Refused(f"{name} must be a port number, not {raw!r}.")
    return int(raw)


def _free_port(name: str, default: int) -> int:
    """As `_port`, refused when something listens there."""
    port = _port(name, default)
    if not ports.is_free(port):
        raise Refused(f"Port {port} is taken by another program: {name}={port + 1} make run")
    return port


@contextlib.contextmanager
def _only_one_here() -> Iterator[None]:
    """Two systems must not share one `var` directory."""
    VAR.mkdir(parents=True, exist_ok=True)
    with (VAR / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                f"`make run` is already running with the data in {VAR}: stop it first, or give this one "
                "a directory of its own, with ports of its own: "
                "ALREA_VAR_DIR=var-2 PORT=8001 SIM_PORT=8091 make run"
            ) from None
        yield


class System:
    """The parts, in the order they start."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.port = _free_port("PORT", 8000)
        self.token = _kept_secret("evolution_token")
        self.simulator = servers.Simulator(
            LOGS,
            *["--demo", f"--demo-token={self.token}"],  # as one word: it may begin with a dash
            # A second "good morning" after a restart would look like a message delivered twice.
            "--no-demo-greetings" if GREETED.exists() else "--demo-greetings",
            port=_free_port("SIM_PORT", 8090),
            api_key=_kept_secret("evolution_key"),
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "ALREA_VAR_DIR": str(VAR),
            "PUBLIC_URL": os.environ.get("PUBLIC_URL") or self.url,
            "DEMO_LOGIN": f"{AGENTS[0]}:{PASSWORD}",
            # Where numbers made in the browser live, unless a real Evolution is named.
            "EVOLUTION_URL": os.environ.get("EVOLUTION_URL") or self.simulator.url,
            "EVOLUTION_API_KEY": os.environ.get("EVOLUTION_API_KEY") or self.simulator.api_key,
            # A reader stops between two reads: short ones make a quick Ctrl-C.
            "CHAT_STREAM_BLOCK_TIMEOUT_MS": os.environ.get("CHAT_STREAM_BLOCK_TIMEOUT_MS") or "1000",
            "CHAT_DRAIN_SECONDS": os.environ.get("CHAT_DRAIN_SECONDS") or str(DRAIN_SECONDS),
        }

    def start(self) -> None:
        """Everything up, then the frame with the address."""
        say("Starting. The first time takes longest.")
        (VAR / "static").mkdir(parents=True, exist_ok=True)
        self._start_redis()
        self.supervisor.launch(self.simulator)
        grant = self._provision()
        self._start_web()
        self.supervisor.wait_ready(self.simulator, "Simulated Evolution ready")
        self._register_webhook(grant)
        self._remember()
        self._show()

    def _start_redis(self) -> None:
        given = os.environ.get("REDIS_URL")
        if given:
            _must_answer(given)
            self.env["REDIS_URL"] = given
            say("Redis of REDIS_URL answers")
            return
        directory = VAR / "valkey"
        directory.mkdir(parents=True, exist_ok=True)
        wanted = _port("VALKEY_PORT", 6390)
        port = wanted if ports.is_free(wanted) else ports.spare_port()
        server = servers.RedisServer(servers.valkey_binary(), directory, port=port)
        server.name, server.log = "valkey", LOGS / "valkey.log"
        self.env["REDIS_URL"] = server.url
        self.supervisor.launch(server)
        self.supervisor.wait_ready(server, f"Valkey ready on port {port}")

    def _provision(self) -> dict[str, Any]:
        """The database migrated, the demo's tenant, agents and instance in it; what chat_bootstrap prints."""
        began = time.monotonic()
        wanted = {
            "tenant": TENANT,
            "agents": AGENTS,
            "password": PASSWORD,
            "instance": INSTANCE,
            "evolution_url": self.simulator.url,
            "api_key": self.token,
        }
        script = ROOT / "scripts/provision.py"
        printed = servers.run_python(str(script), json.dumps(wanted), env=self.env, what="Provisioning")
        say(f"Database ready ({time.monotonic() - began:.1f} s)")
        grant: dict[str, Any] = json.loads(printed)[0]
        return grant

    def _start_web(self) -> None:
        web = servers.AsgiServer(LOGS, self.env, port=self.port)
        web.grace = DRAIN_SECONDS + 5
        self.supervisor.launch(web)
        self.supervisor.wait_ready(web, "Web server ready")

    def _register_webhook(self, grant: dict[str, Any]) -> None:
        """Tells the simulator where to deliver. It forgets this when it stops, so at each start.

        What `setup_chat_webhooks` does, without the second it takes to start.
        """
        webhook = {
            "enabled": True,
            "url": grant["webhook_url"],
            "byEvents": False,
            "base64": False,
            "headers": {grant["webhook_header"]: grant["webhook_secret"]},
            "events": list(webhook_events.WANTED),
        }
        self.simulator.call("POST", f"/webhook/set/{INSTANCE}", {"webhook": webhook})
        GREETED.touch()

    def _remember(self) -> None:
        """Where things are, for `make worker` in another terminal."""
        STATE.write_text(json.dumps({"env": self.env}, indent=2))

    def _show(self) -> None:
        lines = [
            f"ALREA Sense runs at   {self.url}/",
            f"Sign in as            {AGENTS[0]}   password {PASSWORD}",
            f"a second agent        {AGENTS[1]}   the same password",
            f"Logs                  {LOGS}",
            "Stop                  Ctrl-C",
        ]
        width = max(map(len, lines)) + 2
        say("+" + "-" * (width + 2) + "+")
        for line in lines:
            say(f"|  {line.ljust(width)}|")
        say("+" + "-" * (width + 2) + "+")


def _kept_secret(name: str) -> str:
    """A key or token of the simulated Evolution: made once, kept with the data."""
    kept = VAR / name
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(24))
    return kept.read_text().strip()


def _must_answer(url: str) -> None:
    try:
        with contextlib.closing(
            redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
        ) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise Refused(
            f"The Redis of REDIS_URL does not answer ({type(error).__name__}): start it, or unset REDIS_URL "
            "to use the embedded one."
        ) from None


def run_simulator() -> NoReturn:
    """Becomes the simulator."""
    VAR.mkdir(parents=True, exist_ok=True)
    port, key = _port("SIM_PORT", 8090), _kept_secret("evolution_key")
    say(f"Evolution simulator at http://127.0.0.1:{port}, API key {key}")
    os.chdir(servers.BACKEND)
    args = [
        "-m",
        "evolution_simulator",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        f"--api-key={key}",
        "--demo",
    ]
    os.execve(sys.executable, [sys.executable, *args], servers.environment())  # noqa: S606


def run_worker() -> NoReturn:
    """Becomes a stream worker, of the running `make run` or of what the environment names."""
    env = json.loads(STATE.read_text())["env"] if STATE.exists() else {}
    os.chdir(servers.BACKEND)
    args = ["manage.py", "start_chat_stream_worker", "--send-workers", "3", "--mark-workers", "2"]
    os.execve(sys.executable, [sys.executable, *args], servers.environment(env))  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
