"""A stand-in for the chat's REST and WebSocket, with the page around it: the browser tests run against it.

It keeps conversations and messages in memory, numbers its events and can replay them, and does as a test tells it:
refuse, break, hang up. The page's own code is what is tested; the real server has tests of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from csp.utils import build_policy
from django.template.loader import render_to_string
from django.test import override_settings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from apps.chat.tests.web.stub_files import Files
from apps.chat.web.texts import TEXTS
from apps.chat.web.views import page_modules
from apps.tenancy.ids import uuid7

STATIC = Path(__file__).resolve().parents[2] / "static"
PAGE_SIZE = 30
ME = {"id": "00000000-0000-7000-8000-000000000001", "name": "Marina Alves", "email": "marina@example.com"}
TENANT = {"id": "00000000-0000-7000-8000-00000000000a", "name": "Loja Aurora"}
Json = dict[str, Any]


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Stub(Files):
    """The server's memory, and the levers a test pulls."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime.now(UTC)
        self.conversations: dict[str, Json] = {}
        self.messages: dict[str, list[Json]] = {}
        self.instances: list[Json] = [
            {"id": str(uuid7()), "name": "vendas", "connection": "open", "gate": "open"}
        ]
        self.lang = "pt"
        self.theme = ""
        self.max_text = 65_536
        self.posts: list[tuple[str, Json]] = []
        self.sockets: set[WebSocket] = set()
        self.followed = asyncio.Event()  # a page has subscribed
        self.socket_says: list[Json] = []
        self.refuse_sockets = False
        self.close_code: int | None = None
        self.answers: list[
            int
        ] = []  # statuses the next POSTs to messages/ are answered with, 0 = stored, answer lost
        self.replays = True
        self.cancel_result = "stopped"
        self.seq = 1000
        self.log: list[Json] = []
        self._phones = itertools.count(5511912345601)

    # --- what a test sets up

    def conversation(self, name: str = "", **more: Any) -> Json:
        instance = {key: self.instances[0][key] for key in ("id", "name", "connection")}
        row = {
            "id": str(uuid7()),
            "contact": {"id": str(uuid7()), "name": name, "phone": str(next(self._phones))},
            "conversation_type": "individual",
            "instance": instance,
            "status": "open",
            "assigned_to": None,
            "unread_count": 0,
            "last_message_at": stamp(self.now - timedelta(days=30)),
            "last_message_preview": "",
        } | more
        self.conversations[row["id"]] = row
        self.messages[row["id"]] = []
        return row

    def message(
        self, conversation: Json, content: str, *, ago: float = 0, status: str = "", **more: Any
    ) -> Json:
        """A stored message; outgoing when it has a status. `ago` in minutes."""
        at = stamp(datetime.now(UTC) - timedelta(minutes=ago))
        row = {
            "id": str(uuid7()),
            "conversation": conversation["id"],
            "direction": "outgoing" if status else "incoming",
            "origin": "api" if status else "customer",
            "kind": "text",
            "content": content,
            "status": status or "received",
            "reason": "",
            "reason_text": None,
            "attempts": 1 if status else 0,
            "next_attempt_at": None,
            "failure_gen": 0,
            "client_message_id": None,
            "reply_to": None,
            "sender": {"id": ME["id"], "name": ME["name"]} if status else None,
            "author_name": "",
            "provider_id": None if status in ("queued", "sending", "failed") else uuid7().hex,
            "attachments": [],
            "reactions": [],
            "created_at": at,
            "sort_at": at,
            "edited_at": None,
            "deleted_at": None,
        } | more
        self.messages[conversation["id"]].append(row)
        for file in row["attachments"]:
            for known in (file, self.attachments.get(file["id"], {})):
                known["message"] = row["id"]
        conversation |= {"last_message_at": at, "last_message_preview": content[:160]}
        return row

    async def push(self, type_: str, **fields: Any) -> None:
        """Publish an event: number it, log it, tell the sockets. The first waits for a page that is still opening."""
        if not self.refuse_sockets:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.followed.wait(), 3)
        self.seq += 1
        event = {"type": type_, "seq": self.seq, **fields}
        self.log.append(event)
        for socket in list(self.sockets):
            await socket.send_text(json.dumps(event))

    def lose(self, type_: str, **fields: Any) -> None:
        """Publish an event that no socket hears."""
        self.seq += 1
        self.log.append({"type": type_, "seq": self.seq, **fields})

    async def receive(self, conversation: Json, content: str) -> Json:
        """A customer writes."""
        message = self.message(conversation, content)
        conversation["unread_count"] += 1
        await self.push(
            "message_received", conversation_id=conversation["id"], message=message, conversation=conversation
        )
        return message

    async def update(self, message: Json, status: str, **fields: Any) -> None:
        """A message's status changes."""
        message |= {"status": status, **fields}
        shown = {
            key: message[key]
            for key in ("reason", "reason_text", "attempts", "next_attempt_at", "failure_gen")
        }
        await self.push(
            "message_status_update",
            message_id=message["id"],
            conversation_id=message["conversation"],
            status=status,
            **shown,
        )

    async def hang_up(self, code: int = 1012) -> None:
        for socket in list(self.sockets):
            self.sockets.discard(socket)
            with contextlib.suppress(RuntimeError):
                await socket.close(code)

    def posted(self, path: str) -> list[Json]:
        return [body for where, body in self.posts if where.endswith(path)]

    # --- REST

    def _page(self, request: Request, rows: list[Json]) -> Response:
        start = int(request.query_params.get("cursor", 0))
        more = start + PAGE_SIZE < len(rows)
        url = request.url.include_query_params(cursor=start + PAGE_SIZE)
        following = str(url.replace(scheme="https", netloc="wrong.example")) if more else None
        return JSONResponse({"results": rows[start : start + PAGE_SIZE], "next": following, "previous": None})

    async def list_conversations(self, request: Request) -> Response:
        status, search = request.query_params.get("status"), request.query_params.get("search", "").lower()
        rows = [row for row in self.conversations.values() if not status or row["status"] == status]
        rows = [row for row in rows if search in (row["contact"]["name"] + row["contact"]["phone"]).lower()]
        return self._page(request, sorted(rows, key=lambda row: row["last_message_at"], reverse=True))

    async def one_conversation(self, request: Request) -> Response:
        row = self.conversations.get(request.path_params["id"])
        return JSONResponse(row) if row else problem(404, "No such conversation.")

    async def list_messages(self, request: Request) -> Response:
        return self._page(request, self.messages[request.path_params["id"]][::-1])

    async def list_instances(self, request: Request) -> Response:
        return JSONResponse({"results": self.instances, "next": None, "previous": None})

    async def start(self, request: Request) -> Response:
        body = await self._body(request)
        phone = body["contact_phone"].lstrip("+")
        known = [row for row in self.conversations.values() if row["contact"]["phone"] == phone]
        if known:
            return JSONResponse(known[0])
        return JSONResponse(
            self.conversation("", contact={"id": str(uuid7()), "name": "", "phone": phone}), 201
        )

    async def post_message(self, request: Request) -> Response:
        body = await self._body(request)
        answer = self.answers.pop(0) if self.answers else 201
        if answer not in (0, 201):
            return problem(answer, "The text cannot be sent as given.")
        rows = self.messages[body["conversation"]]
        known = [row for row in rows if row["client_message_id"] == body["client_message_id"]]
        if known:
            return JSONResponse(known[0])
        files = [self.attachments[pk] for pk in body.get("attachments", [])]
        written = [self._write(body, n, file) for n, file in enumerate(files or [None], 1)]
        if answer == 0:
            return problem(503, "The answer got lost.")
        for row in written:
            await self.push("message_received", conversation_id=body["conversation"], message=row)
        return JSONResponse({**written[0], **({"messages": written} if files else {})}, 201)

    def _write(self, body: Json, n: int, file: Json | None) -> Json:
        name = body["client_message_id"]
        return self.message(
            self.conversations[body["conversation"]],
            body["content"] if n == 1 else "",
            status="queued",
            attempts=0,
            client_message_id=name if n == 1 else f"{name}#{n}",
            kind=file["kind"] if file else "text",
            attachments=[file] if file else [],
            reply_to=body.get("reply_to") if n == 1 else None,
        )

    async def message_action(self, request: Request) -> Response:
        body = await self._body(request)
        rows = itertools.chain.from_iterable(self.messages.values())
        row = next(row for row in rows if row["id"] == request.path_params["id"])
        row |= {"status": _after(request.path_params["action"], body), "reason": "", "reason_text": None}
        return JSONResponse({**row, "result": self.cancel_result})

    async def conversation_action(self, request: Request) -> Response:
        await self._body(request)
        row, action = self.conversations[request.path_params["id"]], request.path_params["action"]
        row |= {
            "mark_as_read": {"unread_count": 0},
            "close": {"status": "closed"},
            "reopen": {"status": "open"},
        }[action]
        await self.push("conversation_updated", conversation=row)
        return JSONResponse(row)

    async def _body(self, request: Request) -> Json:
        assert request.headers.get("x-csrftoken") == "stub-token"
        body: Json = await request.json()
        self.posts.append((request.url.path, body))
        return body

    # --- WebSocket

    async def socket(self, socket: WebSocket) -> None:
        if self.refuse_sockets:
            await socket.close(1013)
            return
        await socket.accept()
        if self.close_code:
            await socket.close(self.close_code)
            return
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self._hear(socket, await socket.receive_json())
        self.sockets.discard(socket)

    async def _hear(self, socket: WebSocket, frame: Json) -> None:
        self.socket_says.append(frame)
        if frame["type"] == "subscribe":
            self.sockets.add(socket)
            self.followed.set()
            await socket.send_json({"type": "subscribed", "last_seq": self.seq})
        elif frame["type"] == "ping":
            await socket.send_json({"type": "pong", "seq": self.seq})
        elif frame["type"] == "resume" and self.replays:
            for event in [event for event in self.log if event["seq"] > frame["last_seq"]]:
                await socket.send_text(json.dumps(event))
        elif frame["type"] == "resume":
            await socket.send_json({"type": "resync_required", "seq": self.seq})

    # --- pages

    async def inbox(self, request: Request) -> Response:
        boot = {
            "tenant": TENANT,
            "tenants": [TENANT],
            "user": ME,
            "lang": self.lang,
            "max_text": self.max_text,
            "max_file": 1_000_000,
            "cookie_secure": False,
        }
        context = {
            "t": TEXTS[self.lang],
            "theme": self.theme,
            "boot": json.dumps(boot),
            "modules": page_modules(),
        }
        response = page("chat/inbox.html", context)
        response.set_cookie("csrftoken", "stub-token")
        return response

    async def login(self, request: Request) -> Response:
        demo = {"email": "ana@demo.example", "password": "demo-password"}
        context = {
            "t": TEXTS[self.lang],
            "theme": self.theme,
            "other_lang": "en",
            "other_lang_name": "English",
            "demo": demo,
        }
        return page("chat/login.html", context)

    def app(self) -> ASGIApp:
        api = "/api/chat"
        return Starlette(
            routes=[
                Route("/", self.inbox),
                Route("/login/", self.login),
                Route(f"{api}/conversations/", self.list_conversations),
                Route(f"{api}/conversations/start/", self.start, methods=["POST"]),
                Route(f"{api}/conversations/{{id}}/", self.one_conversation),
                Route(f"{api}/conversations/{{id}}/messages/", self.list_messages),
                Route(f"{api}/conversations/{{id}}/{{action}}/", self.conversation_action, methods=["POST"]),
                Route(f"{api}/messages/", self.post_message, methods=["POST"]),
                Route(f"{api}/messages/{{id}}/{{action}}/", self.message_action, methods=["POST"]),
                Route(f"{api}/instances/", self.list_instances),
                Route(f"{api}/attachments/", self.upload, methods=["POST"]),
                Route(f"{api}/attachments/{{id}}/", self.one_attachment),
                Route(f"{api}/attachments/{{id}}/download-again/", self.download_again, methods=["POST"]),
                Route(f"{api}/reactions/{{action}}/", self.react, methods=["POST"]),
                Route("/files/{id}", self.one_file),
                WebSocketRoute("/ws/chat/tenant/{tenant}/", self.socket),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            middleware=[Middleware(WithPolicy)],
        )


class WithPolicy:
    """Every answer carries the project's own content security policy."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.policy = build_policy().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", self.policy)]
            await send(message)

        await self.app(scope, receive, with_policy)


@override_settings(ROOT_URLCONF="apps.chat.tests.web.urls")
def page(template: str, context: Json) -> HTMLResponse:
    return HTMLResponse(render_to_string(template, context))


def problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse(
        {"title": "Problem", "detail": detail, "status": status},
        status,
        media_type="application/problem+json",
    )


def _after(action: str, body: Json) -> str:
    if action == "release":
        return {"send": "queued", "discard": "cancelled"}[body["action"]]
    return {"cancel": "cancelled", "retry-send": "queued"}[action]


class Server(uvicorn.Server):
    """uvicorn in the test's own event loop; the signals stay the test run's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(stub: Stub) -> AsyncIterator[str]:
    """Serve the stub on a free port; gives its address."""
    server = Server(
        uvicorn.Config(stub.app(), port=0, log_level="warning", ws="websockets-sansio", lifespan="off")
    )
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task
