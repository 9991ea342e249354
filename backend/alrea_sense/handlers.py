"""How HTTP reaches Django: one thread hop per request, not one per middleware.

Django's own ASGI handler runs each synchronous middleware hook and signal receiver through a thread of its own per
request, with a database connection that dies with it: measured here at several milliseconds a request before the view
began. `ThreadedHandler` runs the whole synchronous chain, as a WSGI server would, on a small pool of lasting threads.
`DirectHandler` runs native coroutine views in the event loop, without middleware: Evolution's webhooks need none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

from apps.chat.api.problems import body_too_large
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted, RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBase
from django.urls import set_script_prefix, set_urlconf

# Room for the form around the largest file.
FORM_BYTES = 1024 * 1024
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ThreadedHandler(ASGIHandler):
    """Serves requests on `CHAT_HTTP_THREADS` threads, each keeping its database connection."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._pool = ThreadPoolExecutor(settings.CHAT_HTTP_THREADS, thread_name_prefix="http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(bounded(receive, settings.CHAT_MEDIA_MAX_DOCUMENT_BYTES + FORM_BYTES))
        except RequestAborted:
            return
        except RequestDataTooBig:
            await self.send_response(body_too_large(scope["path"]), send)
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
        response = self.get_response(request) if request is not None else error
        assert response is not None  # create_request answers one of the two
        response._handler_class = self.__class__  # type: ignore[attr-defined]
        if not response.streaming:
            response.close()
        return response


def bounded(receive: Receive, longest: int) -> Receive:
    """As `receive`, but no body of more bytes than that gets in: it is kept on disk before anybody looks at it.

    The returned coroutine raises RequestDataTooBig.
    """
    size = 0

    async def receive_some() -> Mapping[str, Any]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > longest:
            raise RequestDataTooBig
        return message

    return receive_some


class DirectHandler(ASGIHandler):
    """Serves coroutine views in the event loop itself; no middleware, no thread."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        inner: View = self._get_response_async  # type: ignore[attr-defined] # the stubs leave it out
        self._answer = cast(View, convert_exception_to_response(partial(inner)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            set_urlconf(settings.ROOT_URLCONF)
            request, error = self.create_request(scope, body)
            response = await self._answer(request) if request is not None else error
            assert response is not None  # create_request answers one of the two
            await self.send_response(response, send)
