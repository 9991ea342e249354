"""Two ways to carry a request: our own few hundred lines over asyncio, and httpx's own transport.

Both open a connection for each call in flight, kept and reused while fresh; how many there are at most is the slots'
business. Both tell httpcore's trace events, so that the caller is asked at the last instant before bytes leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .native import Native
from .plain import Plain

# By CHAT_HTTP_TRANSPORT; each is made with the seconds that an idle connection stays fresh.
TRANSPORTS: Final[Mapping[str, Callable[[float], Any]]] = {"native": Native, "httpx": Plain}
