"""The ASGI application."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from . import control, demo
from .config import SimulatorConfig
from .http import FIRST_BYTE_AT, TRANSPORT
from .routes import EvolutionRoutes
from .simulator import Simulator


class SimulatorApp(Starlette):
    """Notes when a request arrived and on which connection, before Starlette wraps anything."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[FIRST_BYTE_AT] = time.time()
            scope[TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, send)


def create_app(config: SimulatorConfig) -> Starlette:
    """A simulator as an ASGI app (serve it with uvicorn); `app.state.simulator` is its Simulator."""
    sim = Simulator(config)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if config.demo:
            demo.populate(sim)
        yield
        await sim.close()

    routes = [
        Mount("/_control", routes=control.routes(sim)),
        Route("/{path:path}", endpoint=EvolutionRoutes(sim)),
    ]
    app = SimulatorApp(routes=routes, lifespan=lifespan)
    app.state.simulator = sim
    return app
