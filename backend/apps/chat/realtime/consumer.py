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
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

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
RECHECK_SECONDS = 60.0
OUTBOX_LONGEST = 2000
FRAME_LONGEST = 1024 * 1024  # the longest text, every character escaped, fits
RATE_PER_SECOND = 20.0
RATE_BURST = 60.0


class Allowance:
    """A token bucket: how much a client may say."""

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


class TenantSocket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One connection. `offer` and `_write` are the way out, `receive` is the way in."""

    channel_layer_alias = ""  # events come through the hub, one subscription per process and tenant

    user: User
    tenant_id: str

    async def connect(self) -> None:
        self._hub: Hub | None = None
        self._writer: asyncio.Task[None] | None = None
        await self.accept()
        refusal = await self._refusal()
        if refusal:
            await self.close(code=refusal)
            return
        self._outbox: deque[tuple[int, str | None]] = deque()
        self._something = asyncio.Event()
        self._released = asyncio.Event()
        self._wire = asyncio.Lock()
        self._allowance = Allowance()
        self._hub = hub()
        self._sent = await self._hub.attach(self.tenant_id, self)
        self._greeted = False
        self._writer = asyncio.create_task(self._write())

    async def disconnect(self, code: int) -> None:
        if self._writer is not None:
            self._writer.cancel()
        if self._hub is not None:
            await self._hub.detach(self.tenant_id, self)

    async def _refusal(self) -> int:
        """The close code for someone who may not come in, 0 for someone who may."""
        try:
            user = await access.user_of(self.scope)
        except QueueAway:
            return TRY_LATER
        if user is None:
            return NOT_AUTHENTICATED
        self.user = user
        self.tenant_id = access.canonical(self.scope["url_route"]["kwargs"]["tenant_id"])
        return 0 if await access.may_watch(user, self.tenant_id) else NOT_THIS_TENANT

    # --- out -----------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The number of the last event this client was sent."""
        return self._sent

    def offer(self, seq: int, text: str) -> None:
        """Take an event from the hub. A client too slow to follow is told to fetch anew instead."""
        if len(self._outbox) >= OUTBOX_LONGEST:
            self.renew(seq)
            return
        self._outbox.append((seq, text))
        self._something.set()

    def renew(self, seq: int) -> None:
        """Forget what waits: the client is told to fetch anew, and counts on from `seq`."""
        self._outbox.clear()
        self._outbox.append((seq, None))
        self._something.set()

    async def greet(self, **fields: Any) -> None:
        """Say that events come from here on."""
        self._greeted = True
        await self.say(events.SUBSCRIBED, last_seq=self._sent, **fields)

    async def say(self, kind: str, **fields: Any) -> None:
        """Send this client alone something."""
        await self.send(text_data=json.dumps({"type": kind, **fields}))

    async def _write(self) -> None:
        """Empty the outbox as it fills, and see now and then whether the user may still watch."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._released.wait(), HOLD_SECONDS)
        if not self._greeted:
            await self.greet()
        recheck_at = time.monotonic() + RECHECK_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), max(0.0, recheck_at - time.monotonic()))
            await self._empty_outbox()
            if time.monotonic() >= recheck_at:
                recheck_at += RECHECK_SECONDS
                if not await access.may_watch(self.user, self.tenant_id):
                    await self.close(code=NOT_THIS_TENANT)
                    return

    async def _empty_outbox(self) -> None:
        self._something.clear()
        async with self._wire:
            while self._outbox:
                seq, text = self._outbox.popleft()
                if text is None:
                    self._sent = seq
                    await self.say(events.RESYNC_REQUIRED, seq=seq)
                elif seq > self._sent:
                    self._sent = seq
                    await self.send(text_data=text)

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
                    await self.send(text_data=text)
            else:
                await self.say(events.RESYNC_REQUIRED, seq=tail.seq)
        self._released.set()

    async def _tail(self, last_seq: int) -> log.Tail:
        """What followed `last_seq`; without Redis that is unknown."""
        assert self._hub is not None
        try:
            return await log.read_since(self._hub.redis, self.tenant_id, last_seq)
        except TROUBLE:
            return log.Tail(self._sent, [], complete=False)

    # --- in ------------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._hub is None:
            return
        command: dict[str, Any] = {}
        try:
            command = self._parse(text_data)
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
