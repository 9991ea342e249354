"""The stub's side of the operations page: queue status, numbers with gates, dead letters, pairing."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from apps.chat.reasons import in_words
from apps.chat.tests.web.stub import ME, TENANT, Json, Stub, page, problem, stamp
from apps.chat.web.modules import modules_of
from apps.chat.web.texts import TEXTS
from apps.tenancy.ids import uuid7

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def ago(minutes: float) -> str:
    return stamp(datetime.now(UTC) - timedelta(minutes=minutes))


class OpsStub(Stub):
    """What the page reads, and what a person's presses came to."""

    def __init__(self) -> None:
        super().__init__()
        self.admin = True
        self.broken: int | None = None  # a status that every look is answered with
        self.alerts: list[Json] = []
        self.workers = [
            {"name": "web-1-812-5f0c9a3e", "alive": True, "beat_at": ago(0), "started_at": ago(190)}
        ]
        self.streams = {name: self._stream() for name in ("send_message", "mark_as_read", "dead_letter")}
        self.lists = {
            name: {"name": f"chat:queue:{name}", "length": 0, "in_hand": 0, "later": 0}
            for name in ("send_message", "fetch_profile_pic", "fetch_group_info", "fetch_contact_name")
        }
        self.media: Json = {"waiting": 0, "oldest_age_seconds": None, "queue": None}
        self.letters: list[Json] = []
        self.beaten: set[str] = set()  # dead letters that somebody else is faster with
        self.looks = 0
        self.instances = [self.number("vendas")]
        self._ages = itertools.count(3)

    @staticmethod
    def _stream() -> Json:
        known = {"length": 0, "pending": 0, "lag": 0, "consumers": 1, "oldest_age_seconds": None}
        return {"name": "chat:stream", **known, "groups": []}

    @staticmethod
    def number(name: str, **more: Any) -> Json:
        return {
            "id": str(uuid7()),
            "name": name,
            "connection": "open",
            "gate": "open",
            "gate_reason": "",
            "gate_since": None,
            "next_probe_at": None,
            "throttled_at": None,
            "waiting": 0,
            "held": 0,
            "stale": 0,
        } | more

    def letter(self, name: str, reason: str = "not_on_whatsapp", **more: Any) -> Json:
        """A message that failed for good."""
        conversation = self.conversation(name)
        instance = self.instances[0]
        row = {
            "id": str(uuid7()),
            "message": {"conversation": conversation["id"], "created_at": ago(next(self._ages) + 40)},
            "contact": conversation["contact"],
            "instance": {key: instance[key] for key in ("id", "name", "connection")},
            "reason": reason,
            "reason_text": in_words(reason),
            "attempts": 2,
            "failure_gen": 1,
            "failed_at": ago(next(self._ages)),
        } | more
        self.letters.append(row)
        return row

    # --- answers

    async def queue_status(self, request: Request) -> Response:
        self.looks += 1
        if self.broken:
            return problem(self.broken, "The database is away.")
        self.streams["dead_letter"] |= {
            "length": max(len(self.letters), self.streams["dead_letter"]["length"])
        }
        metrics = {**self.lists, "dead": {"name": "chat:queue:dead", "length": 0}, "total": 0}
        found = bool(self.streams["dead_letter"]["length"])
        letters = [{"queue": "dead_letter_stream", "code": "dead_letters", "level": "warning", "message": ""}]
        return JSONResponse(
            {
                "metrics": metrics,
                "stream_metrics": {f"{name}_stream": row for name, row in self.streams.items()},
                "media_metrics": self.media,
                "workers": self.workers,
                "alerts": [*self.alerts, *(letters if found else [])],
                "timestamp": ago(0),
            }
        )

    async def dead_letters(self, request: Request) -> Response:
        limit = int(request.query_params["limit"])
        more = "https://wrong.example/?cursor=x" if len(self.letters) > limit else None
        return JSONResponse({"results": self.letters[:limit], "next": more, "previous": None})

    async def replay_many(self, request: Request) -> Response:
        body = await self._body(request)
        matching = [row for row in self.letters if row["id"] in body.get("ids", [row["id"]])]
        if body.get("dry_run"):
            ids = [row["id"] for row in matching]
            return JSONResponse(
                {"dry_run": True, "matched": len(ids), "replayed": 0, "skipped": 0, "ids": ids}
            )
        done = [row for row in matching if row["id"] not in self.beaten]
        self._remove(matching)
        counts = {"matched": len(matching), "replayed": len(done), "skipped": len(matching) - len(done)}
        return JSONResponse({"dry_run": False, **counts, "ids": [row["id"] for row in done]})

    async def discard(self, request: Request) -> Response:
        await self._body(request)
        wanted = [row for row in self.letters if row["id"] == request.path_params["id"]]
        self._remove(wanted)
        if not wanted or wanted[0]["id"] in self.beaten:
            return problem(409, "Somebody was faster.")
        return JSONResponse({"id": wanted[0]["id"], "status": "cancelled"})

    def _remove(self, rows: list[Json]) -> None:
        self.letters = [row for row in self.letters if row not in rows]
        self.streams["dead_letter"]["length"] = len(self.letters)

    async def instance_action(self, request: Request) -> Response:
        body = await self._body(request)
        row = next(row for row in self.instances if row["id"] == request.path_params["id"])
        action = request.path_params["action"]
        if action == "release-stale":
            count, row["stale"], row["held"] = row["stale"], 0, 0
            return JSONResponse({"action": body["action"], "count": count})
        if action == "restart":
            row |= {"gate": "open", "gate_reason": ""}
            return JSONResponse({"state": "open", "done": True})
        return await self.qr_code(request)

    async def qr_code(self, request: Request) -> Response:
        row = next(row for row in self.instances if row["id"] == request.path_params["id"])
        code = {"base64": PIXEL, "code": "2@x", "pairing_code": None} if row["connection"] != "open" else None
        return JSONResponse({"state": row["connection"], "qr_code": code, "recreated": False})

    async def ops_page(self, request: Request) -> Response:
        boot = {
            "tenant": TENANT,
            "tenants": [TENANT],
            "user": ME,
            "lang": self.lang,
            "cookie_secure": False,
            "admin": self.admin,
        }
        modules = modules_of("chat/js/ops/main.js")
        context = {
            "t": TEXTS[self.lang],
            "theme": self.theme,
            "boot": json.dumps(boot),
            "modules": modules,
        }
        response = page("chat/ops.html", context)
        response.set_cookie("csrftoken", "stub-token")
        return response

    def app(self) -> ASGIApp:
        api = "/api/chat"
        inbox = super().app()
        assert isinstance(inbox, Starlette)
        own = [
            Route("/ops/", self.ops_page),
            Route(f"{api}/reactions/queues/status/", self.queue_status),
            Route(f"{api}/dead-letters/", self.dead_letters),
            Route(f"{api}/dead-letters/replay/", self.replay_many, methods=["POST"]),
            Route(f"{api}/dead-letters/{{id}}/discard/", self.discard, methods=["POST"]),
            Route(f"{api}/instances/{{id}}/qr-code/", self.qr_code),
            Route(f"{api}/instances/{{id}}/{{action}}/", self.instance_action, methods=["POST"]),
        ]
        inbox.router.routes[:0] = own
        return inbox
