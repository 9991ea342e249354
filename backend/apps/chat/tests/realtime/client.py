"""A WebSocket client that collects what it is sent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client

from apps.chat.realtime.routing import websocket_application
from apps.chat.tests.api.world import Team


def session_cookie(user: Any) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


class Socket:
    def __init__(
        self,
        team: Team,
        *,
        tenant_id: Any = None,
        login: bool = True,
        query: str = "",
        origin: str | None = None,
    ) -> None:
        self.team, self.login, self.origin = team, login, origin
        self.path = f"/ws/chat/tenant/{tenant_id or team.tenant.pk}/{query}"
        self.frames: list[Any] = []
        self.closed: int | None = None
        self.scope: dict[str, Any] = {}
        self._opened = False

    async def open(self) -> None:
        headers = []
        if self.login:
            cookie = await sync_to_async(session_cookie)(self.team.user)
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
        if self.origin is not None:
            headers.append((b"origin", self.origin.encode()))
        path, _, query = self.path.partition("?")
        self.scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        # channels.testing would do the same, but wants daphne.
        self._wire = ApplicationCommunicator(websocket_application, self.scope)
        await self._wire.send_input({"type": "websocket.connect"})
        answer = await self._wire.receive_output(timeout=5)
        self._opened = answer["type"] == "websocket.accept"
        if not self._opened:
            self.closed = answer.get("code", 1000)
            return
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            frame = await self._wire.output_queue.get()
            if frame["type"] == "websocket.close":
                self.closed = frame.get("code", 1000)
                return
            self.frames.append(json.loads(frame["text"]))

    async def close(self) -> None:
        if not self._opened:
            return
        self._opened = False
        self._reader.cancel()
        await self._wire.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._wire.wait(timeout=5)

    async def say(self, kind: str, **fields: Any) -> None:
        await self.say_raw(json.dumps({"type": kind, **fields}))

    async def say_raw(self, text: str | None = None, *, data: bytes | None = None) -> None:
        message = {"type": "websocket.receive", **({"text": text} if data is None else {"bytes": data})}
        await self._wire.send_input(message)

    async def until(self, condition: Callable[[], Any], within: float = 5) -> Any:
        """What `condition` answers, once it is true."""
        end = time.monotonic() + within
        while not (found := condition()):
            assert time.monotonic() < end, f"did not come: {self.frames[-5:]}"
            await asyncio.sleep(0.005)
        return found

    async def heard(self, kind: str, count: int = 1, within: float = 5) -> list[Any]:
        """The first frames of a type."""
        return (await self.until(lambda: self._of(kind, count), within))[:count]

    def _of(self, kind: str, count: int) -> list[Any]:
        found = [frame for frame in self.frames if frame["type"] == kind]
        return found if len(found) >= count else []

    async def ready(self) -> int:
        """Subscribed, and past the wait for a resume; the number events come after."""
        await self.say("subscribe")
        last_seq = int((await self.heard("subscribed"))[-1]["last_seq"])
        await self.say("resume", last_seq=last_seq)
        await self.barrier()
        return last_seq

    async def barrier(self) -> int:
        """Everything said before was done; the socket's position."""
        before = len([frame for frame in self.frames if frame["type"] == "pong"])
        await self.say("ping")
        return int((await self.heard("pong", before + 1))[-1]["seq"])

    @property
    def numbers(self) -> list[int]:
        return [frame["seq"] for frame in self.frames if "seq" in frame and frame["type"] != "pong"]
