"""How HTTP reaches Django: one thread hop per request, not one per middleware.

Django's own ASGI handler runs each synchronous middleware hook and signal receiver through a thread of its own per
request, with a database connection that dies with it: measured here at several milliseconds a request before the view
began. `ThreadedHandler` runs the whole synchronous chain, as a WSGI server would, on a small pool of lasting threads.
`DirectHandler` runs native coroutine views in the event loop, without middleware: Evolution's webhooks need none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpResponse, HttpResponseBase
from django.urls import set_script_prefix, set_urlconf

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ThreadedHandler(ASGIHandler):
    """Serves requests on `CHAT_HTTP_THREADS` threads, each keeping its database connection."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._pool = ThreadPoolExecutor(settings.CHAT_HTTP_THREADS, thread_name_prefix="http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        loop = asyncio.get_running_loop()
        with body:
            response = await loop.run_in_executor(self._pool, self._respond, scope, body)
            try:
                await self.send_response(response, send)
            finally:
                if response.streaming:
                    await loop.run_in_executor(self._pool, response.close)

    def _respond(self, scope: Scope, body: Any) -> HttpResponseBase:
        """The whole request on one thread; what is not streamed is finished here, its connection kept or closed."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, error = self.create_request(scope, body)
        response: HttpResponseBase = error if request is None else self.get_response(request)
        response._handler_class = self.__class__  # type: ignore[attr-defined]
        if not response.streaming:
            response.close()
        return response


class DirectHandler(ASGIHandler):
    """Serves coroutine views in the event loop itself; no middleware, no thread."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._answer = convert_exception_to_response(partial(self._get_response_async))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            set_urlconf(settings.ROOT_URLCONF)
            request, error = self.create_request(scope, body)
            await self.send_response(await self._respond(request, error), send)

    async def _respond(self, request: ASGIRequest | None, error: HttpResponse | None) -> HttpResponseBase:
        if request is None:
            assert error is not None
            return error
        response: HttpResponseBase = await self._answer(request)
        return response
