"""One request on its way through a handler."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .http import Reply, Upload
from .shapes import bad_request
from .simulator import Simulator
from .store import Instance

NOT_ON_EVOLUTION = "Method not available on Evolution Channel"


@dataclass(slots=True)
class Call:
    """A request past the guards. `target` is set on routes that name an instance."""

    sim: Simulator
    endpoint: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    upload: Upload | None
    first_byte_at: float
    target: Instance | None = None
    empty: bool = False
    """A fault makes this find nothing."""

    @property
    def instance(self) -> Instance:
        """The instance the route names."""
        assert self.target is not None
        return self.target

    def require_baileys(self) -> None:
        """Refuse what the EVOLUTION channel does not offer."""
        if not self.instance.is_baileys:
            raise bad_request(NOT_ON_EVOLUTION)

    def body_sha256(self) -> str:
        """Fingerprint of the request body as received."""
        return hashlib.sha256(self.raw).hexdigest()


Handler = Callable[[Call], Awaitable[Reply]]
