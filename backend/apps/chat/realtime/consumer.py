"""The WebSocket of one agent on one tenant: `/ws/chat/tenant/<tenant_id>/`.

Its duties: let the right people in, pass on the tenant's events in order, replay what a client missed, and
hand what the client says to `api.commands`. Nothing a client sends may end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from apps.chat.api.commands import COMMANDS, Refused
from apps.chat.errors import ChatError, QueueAway
from apps.chat.realtime import access, events, log
from apps.chat.realtime.hub import Hub, hub
from apps.chat.redis_clients import TROUBLE
from apps.tenancy.models import User

logger = logging.getLogger(__name__)

NOT_AUTHENTICATED = 4001
NOT_THIS_TENANT = 4003
TRY_LATER = 1013

# A client that comes back says `resume` soon; live events wait that long for it, so that what was missed
# comes before what is new. A client that says nothing is greeted when the wait is over.
HOLD_SECONDS = 0.4
OUTBOX_LONGEST = 2000
FRAME_LONGEST = 1024 * 1024  # the longest text, every character escaped, fits
RATE_PER_SECOND = 20.0
RATE_BURST = 60.0


Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Allowance:
    """A token bucket: how much a client may say."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = RATE_BURST
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(RATE_BURST, self._left + (now - self._at) * RATE_PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class TenantSocket:
    """One connection. `offer` and `_write` are the way out, `receive` is the way in.

    Most sockets are idle most of the time, and there may be thousands: an idle one holds no task of its own, no
    queue and no timer, only the server's coroutine that waits for what the client says.
    """

    __slots__ = (
        "_allowance",
        "_closed",
        "_greeted",
        "_held",
        "_holding",
        "_hub",
        "_outbox",
        "_query",
        "_scope",
        "_send",
        "_sent",
        "_wire",
        "_writer",
        "tenant_id",
        "user",
    )
    user: User

    def __init__(self, scope: Scope, query: access.Query, send: Send, tenant_id: str) -> None:
        self.tenant_id = access.canonical(tenant_id)
        self._scope, self._query, self._send = scope, query, send
        self._hub: Hub | None = None
        self._outbox: deque[tuple[int, str | None]] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._held: asyncio.TimerHandle | None = None
        self._holding, self._closed = True, False
        self._wire = asyncio.Lock()
        self._allowance = Allowance()
        self._greeted, self._sent = False, 0

    async def run(self, receive: Receive) -> None:
        """Serve the connection until it ends."""
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                if message["type"] == "websocket.connect":
                    await self._connect()
                else:
                    await self.receive(message.get("text"))
        finally:
            await self._leave()

    async def _connect(self) -> None:
        await self._send({"type": "websocket.accept"})
        refusal = await self._refusal()
        if refusal:
            await self._close(refusal)
            return
        self._hub = hub()
        self._sent = await self._hub.attach(self.tenant_id, self)
        self._held = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._release)

    async def _leave(self) -> None:
        self._hush()
        if self._hub is not None:
            await self._hub.detach(self.tenant_id, self)

    async def _refusal(self) -> int:
        """The close code for someone who may not come in, 0 for someone who may."""
        try:
            user = await access.user_of(self._scope, self._query)
        except QueueAway:
            return TRY_LATER
        finally:
            self._scope, self._query = {}, {}  # a day is long
        if user is None:
            return NOT_AUTHENTICATED
        self.user = user
        return 0 if await access.may_watch(user, self.tenant_id) else NOT_THIS_TENANT

    async def dismiss(self) -> None:
        """The user may not watch any more."""
        await self._close(NOT_THIS_TENANT)

    def _hush(self) -> None:
        """From here on nothing is written that was not asked for."""
        self._closed = True
        for one in (self._held, self._writer):
            if one is not None:
                one.cancel()

    async def _close(self, code: int) -> None:
        if self._closed:
            return
        self._hush()
        with contextlib.suppress(OSError):  # gone by itself
            await self._send({"type": "websocket.close", "code": code})

    # --- out -----------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The number of the last event this client was sent."""
        return self._sent

    @property
    def user_id(self) -> UUID:
        """Whose socket it is."""
        return self.user.pk

    def offer(self, seq: int, text: str) -> None:
        """Take an event from the hub. A client too slow to follow is told to fetch anew instead."""
        if self._outbox is None:
            self._outbox = deque()
        if len(self._outbox) >= OUTBOX_LONGEST:
            self.renew(seq)
            return
        self._outbox.append((seq, text))
        self._wake()

    def renew(self, seq: int) -> None:
        """Forget what waits: the client is told to fetch anew, and counts on from `seq`."""
        self._outbox = deque([(seq, None)])
        self._wake()

    def _wake(self) -> None:
        """See that somebody empties the outbox, unless a resume is waited for."""
        if self._writer is None and not (self._holding or self._closed):
            self._writer = asyncio.create_task(self._write())

    def _release(self) -> None:
        """The wait for a resume is over."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
        self._holding = False
        self._wake()

    async def greet(self, **fields: Any) -> None:
        """Say that events come from here on."""
        self._greeted = True
        await self.say(events.SUBSCRIBED, last_seq=self._sent, **fields)

    async def say(self, kind: str, **fields: Any) -> None:
        """Send this client alone something."""
        await self._tell(json.dumps({"type": kind, **fields}))

    async def _tell(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _write(self) -> None:
        """Greet a client that said nothing, and empty the outbox; ends when there is nothing to write."""
        try:
            async with self._wire:
                if not self._greeted:
                    await self.greet()
                await self._empty_outbox()
        except OSError:
            pass  # the client is gone: what it missed it asks for when it comes back
        finally:
            self._writer = None

    async def _empty_outbox(self) -> None:
        while self._outbox:
            seq, text = self._outbox.popleft()
            if text is None:
                self._sent = seq
                await self.say(events.RESYNC_REQUIRED, seq=seq)
            elif seq > self._sent:
                self._sent = seq
                await self._tell(text)
        self._outbox = None

    async def resume(self, last_seq: int) -> None:
        """Send all that followed `last_seq`, in order, before anything newer; or say that it cannot be told.

        What waits in the outbox and was replayed is not sent again; what was sent before the client asked is:
        it says it lacks it.
        """
        async with self._wire:
            tail = await self._tail(last_seq)
            self._greeted = True
            self._sent = tail.seq
            if tail.complete:
                for _, text in tail.events:
                    await self._tell(text)
            else:
                await self.say(events.RESYNC_REQUIRED, seq=tail.seq)
        self._release()

    async def _tail(self, last_seq: int) -> log.Tail:
        """What followed `last_seq`; without Redis that is unknown."""
        assert self._hub is not None
        try:
            return await log.read_since(self._hub.redis, self.tenant_id, last_seq)
        except TROUBLE:
            return log.Tail(self._sent, [], complete=False)

    # --- in ------------------------------------------------------------------------------------

    async def receive(self, text: str | None) -> None:
        """Do what a frame asks for; None stands for a frame that is no text."""
        if self._hub is None:
            return
        command: dict[str, Any] = {}
        try:
            command = self._parse(text)
            await COMMANDS[command["type"]](self, command)
        except ChatError as problem:
            await self._refuse(str(problem), problem.code, command)
        except Exception:
            logger.exception("realtime: a command failed", extra={"command": str(command.get("type"))[:32]})
            await self._refuse("This could not be done. Try again.", "internal_error", command)

    def _parse(self, text: str | None) -> dict[str, Any]:
        """The command in a frame; raises Refused for anything that is none."""
        if not self._allowance.take():
            raise Refused("You say more than anyone can read. Slow down.", "rate_limited")
        if text is None:
            raise Refused("Send text frames with a JSON object.", "invalid_frame")
        if len(text) > FRAME_LONGEST:
            raise Refused(f"A frame has at most {FRAME_LONGEST} characters.", "too_large")
        try:
            command = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused("This is not JSON.", "invalid_json") from None
        if not isinstance(command, dict):
            raise Refused("Send a JSON object with a type.", "invalid_json")
        if not isinstance(command.get("type"), str) or command["type"] not in COMMANDS:
            raise Refused(f"Known types are: {', '.join(COMMANDS)}.", "unknown_type")
        return command

    async def _refuse(self, message: str, code: str, command: dict[str, Any]) -> None:
        """Tell the client what was wrong; `client_message_id` lets it find the message it meant."""
        meant = command.get("client_message_id")
        ref = {"client_message_id": meant} if isinstance(meant, str) and len(meant) <= 128 else {}
        await self.say(events.ERROR, message=message, error_code=code, **ref)
