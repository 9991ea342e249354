"""/_control/*: what tests and demos steer the simulator with. Meant for loopback only."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from . import connection, content, inbound, shapes
from .faults import FaultError
from .groups import Group
from .inbound import Inbound, key_from, key_to
from .presets import PRESETS
from .shapes import Json
from .simulator import Simulator
from .store import Instance

Endpoint = Callable[[Request, Json], Awaitable[Any] | Any]


class ControlError(Exception):
    """A control request that makes no sense; answered with `status` and the text."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Control:
    """The control API of one simulator. Each method takes (request, JSON body) and returns JSON."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    def health(self, _: Request, __: Json) -> Json:
        """GET health."""
        return {
            "ready": True,
            "uptime": time.time() - self.sim.started_at,
            "instances": len(self.sim.store.instances),
            "accepted": len(self.sim.accepted.entries),
        }

    def accepted(self, request: Request, _: Json) -> Json:
        """GET accepted?instance=&number=&since_n=&limit=: the oracle."""
        query = request.query_params
        limit = int(query["limit"]) if "limit" in query else None
        found = self.sim.accepted.find(
            query.get("instance"), query.get("number"), int(query.get("since_n", 0)), limit
        )
        return {"accepted": found, "count": len(found)}

    def requests(self, _: Request, __: Json) -> Json:
        """GET requests: how often each endpoint was asked, and with which status it answered."""
        traffic = self.sim.traffic
        return {"requests": dict(traffic.requests), "statuses": dict(traffic.statuses)}

    def reads(self, _: Request, __: Json) -> Json:
        """GET reads: keys markMessageAsRead was given."""
        return {"reads": self.sim.traffic.reads}

    def webhooks(self, request: Request, _: Json) -> Json:
        """GET webhooks?event=&instance=&outcome=&since_id=: the delivery log."""
        query = request.query_params
        since = int(query.get("since_id", 0))
        wanted = {name: query[name] for name in ("event", "instance", "outcome") if name in query}
        shown = [
            delivery.summary()
            for delivery in self.sim.webhooks.log
            if delivery.id > since and all(getattr(delivery, name) == value for name, value in wanted.items())
        ]
        return {"webhooks": shown, "count": len(shown)}

    def list_faults(self, _: Request, __: Json) -> Json:
        """GET faults, with the presets there are."""
        return {"faults": [fault.as_json() for fault in self.sim.faults.all()], "presets": sorted(PRESETS)}

    def add_fault(self, _: Request, body: Json) -> Json:
        """POST faults: a fault, a preset with overrides, or {"faults": [...]}."""
        specs = body.get("faults", [body])
        added = [self.sim.faults.add(spec).as_json() for spec in specs]
        return {"faults": added} if "faults" in body else added[0]

    def remove_faults(self, request: Request, _: Json) -> Json:
        """DELETE faults or faults/{id}."""
        fault_id = request.path_params.get("fault_id")
        return {"removed": self.sim.faults.remove(fault_id)}

    def get_switches(self, _: Request, __: Json) -> Json:
        """GET switches."""
        return self.sim.switches.as_json()

    def set_switches(self, _: Request, body: Json) -> Json:
        """POST switches {name: value}."""
        self.sim.switches.update(body)
        return self.sim.switches.as_json()

    def list_customers(self, _: Request, __: Json) -> Json:
        """GET customers."""
        return {"customers": self.sim.directory.as_json()}

    def put_customer(self, _: Request, body: Json) -> Json:
        """POST customers: add or change one; `number` is needed."""
        if not isinstance(body.get("number"), str):
            raise ControlError("a customer needs a number (string)")
        return self.sim.directory.update(body).as_json()

    def put_group(self, _: Request, body: Json) -> Json:
        """POST groups {jid, subject?, owner?, desc?, picture?, participants?}."""
        group = Group(**body)
        self.sim.groups[group.jid] = group
        return group.as_json()

    def customer_says(self, request: Request, body: Json) -> Json:
        """POST customers/{number}/say {instance, text | kind + base64 | message + message_type, …}."""
        customer = self.sim.directory.someone(request.path_params["number"])
        instance = self._instance(body.get("instance"))
        key = key_from(customer, group=body.get("group"), key_id=body.get("key_id"))
        name = body.get("push_name", customer.name or None)
        return self._receive(instance, _composed(body, key, name))

    def customer_edits(self, request: Request, body: Json) -> Json:
        """POST customers/{number}/edit {instance, key_id, text}; without text: revoke."""
        customer = self.sim.directory.someone(request.path_params["number"])
        if "key_id" not in body:
            raise ControlError("which message? key_id is missing")
        instance = self._instance(body.get("instance"))
        inbound.edit(self.sim, instance, customer, body["key_id"], body.get("text"))
        return {"key_id": body["key_id"]}

    def customer_types(self, request: Request, body: Json) -> Json:
        """POST customers/{number}/presence {instance, presence?}."""
        customer = self.sim.directory.someone(request.path_params["number"])
        presence = body.get("presence", "composing")
        inbound.typing(self.sim, self._instance(body.get("instance")), customer, presence)
        return {"presence": presence}

    def phone_says(self, _: Request, body: Json) -> Json:
        """POST phone/say {instance, number, text, …}: typed on the instance's own phone."""
        if not isinstance(body.get("number"), str):
            raise ControlError("to whom? number (string) is missing")
        customer = self.sim.directory.someone(body["number"])
        instance = self._instance(body.get("instance"))
        key = key_to(customer, key_id=body.get("key_id"))
        return self._receive(instance, _composed(body, key, instance.profile_name))

    def set_state(self, request: Request, body: Json) -> Json:
        """POST instances/{i}/state {state, reason?, webhook?, number?}."""
        instance = self._instance(request.path_params["instance"])
        state = body.get("state")
        if state not in {"open", "close", "connecting"}:
            raise ControlError("state must be open, close or connecting")
        if body.get("number"):
            instance.own_jid = f"{body['number']}@s.whatsapp.net"
        connection.set_state(
            self.sim, instance, state, int(body.get("reason", 401)), webhook=body.get("webhook", True)
        )
        return {**connection.state_body(instance), "own_jid": instance.own_jid, "held": len(instance.held)}

    def emit(self, request: Request, body: Json) -> Json:
        """POST instances/{i}/emit {event, data}: any webhook at all."""
        instance = self._instance(request.path_params["instance"])
        if not isinstance(body.get("event"), str):
            raise ControlError("event (string) is missing")
        return {"sent": len(self.sim.webhooks.emit(instance, body["event"], body.get("data")))}

    def reset(self, _: Request, body: Json) -> Json:
        """POST reset {instances?: bool}."""
        self.sim.reset(instances=bool(body.get("instances")))
        return {"reset": True}

    def _instance(self, name: Any) -> Instance:
        instance = self.sim.store.get(name) if isinstance(name, str) else None
        if instance is None:
            raise ControlError(f"no instance {name!r}", 404)
        return instance

    def _receive(self, instance: Instance, message: Inbound) -> Json:
        key_id = inbound.receive(self.sim, instance, message)
        return {"key_id": key_id, "remoteJid": message.key["remoteJid"], "held": len(instance.held)}


def routes(sim: Simulator) -> list[BaseRoute]:
    """The control API's routes, relative to /_control."""
    control = Control(sim)
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/health", control.health),
        ("GET", "/accepted", control.accepted),
        ("GET", "/requests", control.requests),
        ("GET", "/reads", control.reads),
        ("GET", "/webhooks", control.webhooks),
        ("GET", "/faults", control.list_faults),
        ("POST", "/faults", control.add_fault),
        ("DELETE", "/faults", control.remove_faults),
        ("DELETE", "/faults/{fault_id:int}", control.remove_faults),
        ("GET", "/switches", control.get_switches),
        ("POST", "/switches", control.set_switches),
        ("GET", "/customers", control.list_customers),
        ("POST", "/customers", control.put_customer),
        ("POST", "/customers/{number}/say", control.customer_says),
        ("POST", "/customers/{number}/edit", control.customer_edits),
        ("POST", "/customers/{number}/presence", control.customer_types),
        ("POST", "/groups", control.put_group),
        ("POST", "/phone/say", control.phone_says),
        ("POST", "/instances/{instance}/state", control.set_state),
        ("POST", "/instances/{instance}/emit", control.emit),
        ("POST", "/reset", control.reset),
    ]
    return [Route(path, _endpoint(sim, action), methods=[method]) for method, path, action in table]


def _endpoint(sim: Simulator, action: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        wanted = sim.config.control_key
        given = request.headers.get("x-control-key", "")
        if wanted is not None and not hmac.compare_digest(given.encode(), wanted.encode()):
            return JSONResponse({"error": "x-control-key is missing or wrong"}, 401)
        try:
            return JSONResponse(action(request, await _json(request)))
        except ControlError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except (FaultError, ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return handle


async def _json(request: Request) -> Json:
    raw = await request.body()
    body = json.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise ControlError("the body must be a JSON object")
    return body


def _composed(body: Json, key: Json, push_name: str | None) -> Inbound:
    """An inbound message from a say body: a text, a file, or a ready `message`."""
    moment = int(body.get("timestamp") or shapes.now_seconds())
    if "message" in body:
        kind = body.get("message_type") or next(iter(body["message"]))
        return Inbound(key, body["message"], kind, push_name, moment, context_info=body.get("context_info"))
    if body.get("kind", "text") != "text":
        return _file(body, key, push_name, moment)
    if not isinstance(body.get("text"), str):
        raise ControlError("text (string) is missing")
    arrived = Inbound(key, {"conversation": body["text"]}, "conversation", push_name, moment)
    if "quoted" in body:
        arrived.has_context = True
        arrived.context_info = {"mentionedJid": [], "groupMentions": [], **body["quoted"]}
    return arrived


def _file(body: Json, key: Json, push_name: str | None, moment: int) -> Inbound:
    kind = body["kind"]
    if kind not in content.MIMETYPES:
        raise ControlError(f"kind must be text, {', '.join(content.MIMETYPES)}")
    data = base64.b64decode(body["base64"]) if "base64" in body else content.TINY_PNG
    message = content.media(
        kind,
        data,
        body.get("mimetype") or content.MIMETYPES[kind],
        caption=body.get("caption"),
        file_name=body.get("file_name"),
        voice=bool(body.get("voice")),
    )
    return Inbound(key, message, f"{kind}Message", push_name, moment, has_context=True, media=data)
