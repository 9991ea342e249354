"""Where the sockets live, behind the check of who connects from where."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.urls import re_path

from apps.chat.realtime.access import OriginCheck
from apps.chat.realtime.consumer import TenantSocket

websocket_urlpatterns: list[Any] = [
    re_path(r"^/?ws/chat/tenant/(?P<tenant_id>[^/]{1,64})/?$", TenantSocket.as_asgi()),
]

_routed = OriginCheck(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))


async def websocket_application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application for scopes of type `websocket`; an unknown path is closed, not an error."""
    try:
        await _routed(scope, receive, send)
    except ValueError as problem:
        if not str(problem).startswith("No route found"):
            raise
        await send({"type": "websocket.close", "code": 1000})
