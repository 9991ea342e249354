"""Command line: `python -m evolution_simulator`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import uvicorn
from starlette.applications import Starlette

from .app import create_app
from .config import RetryPolicy, SimulatorConfig, Timing
from .simulator import Simulator

_GRACE_SECONDS = 2
_KEEP_ALIVE_SECONDS = 5


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 1 if the address is taken."""
    config = _config(_parser().parse_args(argv))
    try:
        sock = _bind(config.host, config.port)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {config.host}:{config.port}: {error.strerror}\n")
        return 1
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    config = replace(config, port=sock.getsockname()[1])
    _Server(uvicorn_config(config), _banner(config)).run(sockets=[sock])
    return 0


def uvicorn_config(config: SimulatorConfig) -> uvicorn.Config:
    """How the simulator is served: keep-alive as short as Evolution's, no access log."""
    return uvicorn.Config(
        create_app(config),
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
        proxy_headers=False,
    )


class _Server(uvicorn.Server):
    """Announces itself once it listens, and ends with status 0 on a signal."""

    def __init__(self, config: uvicorn.Config, banner: str) -> None:
        super().__init__(config)
        self._sim: Simulator = cast(Starlette, config.app).state.simulator
        self._banner = banner

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self._banner)
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._sim.hang_up()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _banner(config: SimulatorConfig) -> str:
    line = f"evolution_simulator ready on http://{config.host}:{config.port}\n"
    if not config.demo:
        return line
    token = "as given" if config.demo_token else "generated, see GET /instance/fetchInstances"
    return line + f"demo instance 'demo' (token {token}); customers: GET /_control/customers\n"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock


def _config(options: argparse.Namespace) -> SimulatorConfig:
    return SimulatorConfig(
        api_key=options.api_key,
        host=options.host,
        port=options.port,
        server_url=options.server_url,
        control_key=options.control_key,
        seed=options.seed,
        log_path=options.log,
        demo=options.demo,
        demo_token=options.demo_token,
        demo_greetings=options.demo_greetings,
        retry=_retry(options),
        timing=_timing(options),
        echo_before=options.echo_before,
        fetch_media=options.fetch_media,
        keep_messages=options.keep_messages,
    )


def _retry(options: argparse.Namespace) -> RetryPolicy:
    return RetryPolicy(
        attempts=options.webhook_retry_attempts,
        initial=options.webhook_retry_initial,
        maximum=options.webhook_retry_max,
        jitter=options.webhook_retry_jitter,
        timeout=options.webhook_timeout,
    )


def _timing(options: argparse.Namespace) -> Timing:
    return Timing(
        latency=tuple(options.latency),
        delivery=tuple(options.delivery),
        read=tuple(options.read),
        answer=tuple(options.answer),
        connect=options.connect,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evolution_simulator",
        description="A stand-in for Evolution API 2.3.6: its HTTP and webhook contract, its failures, "
        "an accept log, and customers who answer. Steered over /_control (see its README).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_server(parser.add_argument_group("server"))
    _add_demo(parser.add_argument_group("demo"))
    _add_webhooks(parser.add_argument_group("webhooks"))
    _add_timing(parser.add_argument_group("timing", "MIN MAX in seconds, drawn from uniformly"))
    return parser


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--host", default="127.0.0.1", help="address to listen on")
    group.add_argument(
        "--port", type=int, default=8090, help="port; 0 picks a free one, shown in the ready line"
    )
    group.add_argument("--api-key", required=True, help="the global apikey")
    group.add_argument("--control-key", help="require this value in x-control-key on /_control")
    group.add_argument(
        "--server-url", default="", help="server_url shown in webhooks (default: where it listens)"
    )
    group.add_argument(
        "--log", type=Path, metavar="FILE.jsonl", help="append every accepted send as a JSON line"
    )
    group.add_argument("--seed", type=int, help="seed of every random choice except message ids")
    group.add_argument("--keep-messages", type=int, default=100_000, help="messages remembered per instance")
    group.add_argument(
        "--fetch-media", action=argparse.BooleanOptionalAction, default=True, help="really fetch media URLs"
    )


def _add_demo(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--demo", action="store_true", help="an open instance named demo, with customers")
    group.add_argument("--demo-token", help="token of the demo instance (default: generated)")
    group.add_argument(
        "--demo-greetings",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let two customers write first, once the demo instance has a webhook",
    )


def _add_webhooks(group: argparse._ArgumentGroup) -> None:
    policy = RetryPolicy()
    group.add_argument(
        "--webhook-retry-attempts", type=int, default=policy.attempts, metavar="N", help="attempts"
    )
    group.add_argument(
        "--webhook-retry-initial",
        type=float,
        default=policy.initial,
        metavar="S",
        help="first wait, doubling",
    )
    group.add_argument(
        "--webhook-retry-max", type=float, default=policy.maximum, metavar="S", help="longest wait"
    )
    group.add_argument(
        "--webhook-retry-jitter", type=float, default=policy.jitter, metavar="F", help="share, ±"
    )
    group.add_argument(
        "--webhook-timeout", type=float, default=policy.timeout, metavar="S", help="per attempt"
    )
    group.add_argument(
        "--echo-before",
        type=float,
        default=0.5,
        metavar="P",
        help="chance of send.message before the HTTP answer",
    )


def _add_timing(group: argparse._ArgumentGroup) -> None:
    timing = Timing()
    for name, text in (
        ("latency", "from a send's checks to its acceptance"),
        ("delivery", "from acceptance to DELIVERY_ACK"),
        ("read", "from DELIVERY_ACK to READ"),
        ("answer", "from READ to a customer's answer"),
    ):
        default = getattr(timing, name)
        group.add_argument(
            f"--{name}", nargs=2, type=float, default=default, metavar=("MIN", "MAX"), help=text
        )
    group.add_argument(
        "--connect", type=float, default=timing.connect, metavar="S", help="how long connect takes"
    )
