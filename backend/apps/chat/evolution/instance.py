"""What a caller hands to the client: the instance, the gate, and the limits of the calls."""

from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlsplit


class SendGate(Protocol):
    """Asked at the last instant before bytes leave whether this attempt may still send."""

    def may_send(self) -> bool:
        """Return False to stop the attempt. Asked before head and before body; must not block."""
        ...

    def may_finish(self) -> bool:
        """Return False to stop an attempt whose body is streamed. Asked before its end leaves; must not block."""
        ...


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """Where an instance lives and the key that opens it. The key never shows in a repr."""

    name: str
    base_url: str
    api_key: str = field(repr=False)

    @property
    def address(self) -> str:
        """Host and port, fit for error texts and logs."""
        try:
            return urlsplit(self.base_url).netloc.rpartition("@")[2]
        except ValueError:
            return ""

    def url(self, group: str, endpoint: str) -> str:
        """Return the URL of a call; the instance name is quoted, and left out when it is empty."""
        base = f"{self.base_url.rstrip('/')}/{group}/{endpoint}"
        return f"{base}/{quote(self.name, safe='')}" if self.name else base


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` exceeds Baileys' own 60 s; `send_total` stays under the row's lease of 120 s."""

    connect: float = 5.0
    read: float = 90.0
    write: float = 30.0
    slot: float = 30.0
    send_total: float = 110.0
    query: float = 30.0
    media: float = 180.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`per_host` calls at once towards one address, so that a hanging server starves no other.

    Idle connections are dropped after `keepalive_expiry` seconds, before the server's own 5: a request
    written to a connection the server is closing has no certain end.
    """

    per_host: int = 128
    keepalive_expiry: float = 4.0
