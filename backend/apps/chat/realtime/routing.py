"""Where the sockets live, behind the check of who connects from where.

A socket may stay open for a day, and all that leads to it stays with it: so there is one route and one call, not a
stack of middlewares with a copy of the scope each.
"""

from __future__ import annotations

import re
from typing import Any, Final

from apps.chat.realtime.access import OriginCheck, take_query
from apps.chat.realtime.consumer import TenantSocket

_PATH: Final = re.compile(r"/?ws/chat/tenant/([^/]{1,64})/?")
_ORIGINS: Final = OriginCheck()


async def websocket_application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application for scopes of type `websocket`; an unknown path or a foreign page is refused."""
    query = take_query(scope)
    found = _PATH.fullmatch(scope["path"].removeprefix(scope.get("root_path", "")))
    if found is None or not _ORIGINS.allows(scope):
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    await TenantSocket(scope, query, send, found[1]).run(receive)
