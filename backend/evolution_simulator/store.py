"""What the simulated server remembers: instances, their messages, contacts and chats. Memory only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from . import shapes
from .shapes import Json

BAILEYS = "WHATSAPP-BAILEYS"
EVOLUTION = "EVOLUTION"

DEFAULT_SETTINGS: Json = {
    "rejectCall": False,
    "msgCall": "",
    "groupsIgnore": False,
    "alwaysOnline": False,
    "readMessages": False,
    "readStatus": False,
    "syncFullHistory": False,
    "wavoipToken": "",
}


@dataclass(slots=True)
class Row:
    """One message as Evolution's database holds it."""

    key: Json
    push_name: str | None
    message_type: str | None
    message: Json | None
    timestamp: int
    source: str
    instance_id: str
    status: str | None = None
    context_info: Json | None = None
    id: str = field(default_factory=shapes.new_cuid)
    updates: list[tuple[str, str]] = field(default_factory=list)
    """(row id, status) in the order they were stored."""

    @property
    def jid(self) -> str:
        """The chat the message belongs to."""
        return str(self.key.get("remoteJid"))


class Messages:
    """Rows by message id and by chat, the oldest forgotten beyond `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: dict[str, Row] = {}
        self._chats: dict[str, dict[str, Row]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Row) -> None:
        """Store a row; one with the same message id is replaced."""
        key_id = row.key["id"]
        self._rows[key_id] = row
        self._chats.setdefault(row.jid, {})[key_id] = row
        if len(self._rows) > self._limit:
            oldest = self._rows.pop(next(iter(self._rows)))
            self._chats[oldest.jid].pop(oldest.key["id"], None)

    def get(self, key_id: object) -> Row | None:
        """The row of a message id, if it is still known."""
        return self._rows.get(key_id) if isinstance(key_id, str) else None

    def of_chat(self, jid: str) -> Iterable[Row]:
        """All rows of one chat, oldest first."""
        return self._chats.get(jid, {}).values()

    def chats(self) -> Iterator[tuple[str, Row]]:
        """(JID, newest row) of every chat that has a message."""
        for jid, rows in self._chats.items():
            if rows:
                yield jid, next(reversed(rows.values()))

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())


@dataclass(slots=True)
class Contact:
    """A contact or chat row."""

    jid: str
    name: str | None = None
    picture: str | None = None
    id: str = field(default_factory=shapes.new_cuid)
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)


@dataclass(slots=True)
class Webhook:
    """The row behind /webhook/set and /webhook/find."""

    url: str
    enabled: bool
    events: list[str]
    headers: dict[str, str]
    by_events: bool
    base64: bool
    id: str = field(default_factory=shapes.new_cuid)
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)


@dataclass(slots=True)
class Instance:
    """One Evolution instance. `own_jid` is None until it was connected for the first time."""

    name: str
    integration: str
    token: str
    number: str | None
    messages: Messages
    serial: int = 0
    """How many instances were made before it."""
    state: str = "close"
    has_socket: bool = False
    own_jid: str | None = None
    profile_name: str | None = None
    settings: Json = field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    webhook: Webhook | None = None
    contacts: dict[str, Contact] = field(default_factory=dict)
    chats: dict[str, Contact] = field(default_factory=dict)
    media: dict[str, bytes] = field(default_factory=dict)
    qr_count: int = 0
    silenced: bool = False
    disconnection: Json | None = None
    held: list[Callable[[], None]] = field(default_factory=list)
    """What WhatsApp keeps back while the instance is offline, or a stalled edit keeps it from us."""
    stalled: bool = False
    id: str = field(default_factory=shapes.new_uuid)
    settings_id: str = field(default_factory=shapes.new_cuid)
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)

    @property
    def is_baileys(self) -> bool:
        """True for WHATSAPP-BAILEYS, False for EVOLUTION."""
        return self.integration == BAILEYS

    @property
    def is_open(self) -> bool:
        """True when WhatsApp is reachable through this instance."""
        return self.state == "open"


class Store:
    """All instances by name."""

    def __init__(self, keep_messages: int) -> None:
        self._keep = keep_messages
        self._made = 0
        self.instances: dict[str, Instance] = {}

    def create(self, name: str, integration: str, token: str, number: str | None) -> Instance:
        """Add an instance; the name must be free."""
        instance = Instance(name, integration, token, number, Messages(self._keep), self._made)
        if integration == EVOLUTION:
            instance.state = "open"
        self.instances[name] = instance
        self._made += 1
        return instance

    def get(self, name: str) -> Instance | None:
        """An instance by name."""
        return self.instances.get(name)

    @staticmethod
    def own_jid_for(instance: Instance) -> str:
        """The phone an instance pairs with: its `number` if given, else a synthetic one."""
        digits = instance.number if (instance.number or "").isdigit() else f"55119000{instance.serial:05d}"
        return f"{digits}@s.whatsapp.net"

    def forget_messages(self) -> None:
        """Empty every instance's message, contact and media tables."""
        for instance in self.instances.values():
            instance.messages = Messages(self._keep)
            instance.media.clear()
            instance.contacts.clear()
            instance.held.clear()
            instance.silenced = False
