"""The server's entry: HTTP, WebSocket and lifespan.

In production (DEBUG off) the lifespan starts the chat consumers in the server's own event loop and drains them
at the end; CHAT_DISABLE_ASGI_CONSUMERS=1 leaves them to worker processes. A server that has no lifespan gets one
background thread.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alrea_sense.settings")

import django
from django.core.exceptions import ImproperlyConfigured

try:
    django.setup(set_prefix=False)
except ImproperlyConfigured as problem:
    sys.exit(f"{problem}")  # a wrong setting is one sentence, not a traceback

from apps.chat import journal
from apps.chat.consumers import EmbeddedConsumers, last_words
from apps.chat.realtime.routing import websocket_application
from channels.routing import ProtocolTypeRouter
from django.conf import settings

from alrea_sense.handlers import DirectHandler, ThreadedHandler

WEBHOOKS = "/api/chat/webhooks/"
# The loop, the request threads and the database thread share one interpreter lock. Python's own 5 ms between forced
# switches would be most of a message's way; a tenth of it costs little.
SWITCH_SECONDS = 0.0005

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


def consumers_wanted() -> bool:
    """Do the consumers belong into this server process?"""
    return not settings.DEBUG and not settings.CHAT_DISABLE_ASGI_CONSUMERS


class Application:
    """Routes by protocol, and answers the lifespan."""

    def __init__(self) -> None:
        self._router = ProtocolTypeRouter({"http": self._http, "websocket": websocket_application})
        self._threaded = ThreadedHandler()
        self._direct = DirectHandler()
        self._consumers: EmbeddedConsumers | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._consumers is None and consumers_wanted():
            self._consumers = EmbeddedConsumers()
            self._consumers.run_in_thread()
        await self._router(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._direct if scope["path"].startswith(WEBHOOKS) else self._threaded
        await handler(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        journal.start()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()  # what start-up made stays for good: no later collection need look at it
        if consumers_wanted():
            self._consumers = EmbeddedConsumers()
            await self._consumers.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._consumers is not None:
            await self._consumers.drain()
        await asyncio.to_thread(last_words)
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
