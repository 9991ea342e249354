"""Every Evolution route, and the guards a request passes.

In order: readable body, known instance (404), apikey (401), schema (400).
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from . import (
    VERSION,
    chats,
    evolution_channel,
    finding,
    groups,
    instances,
    outgoing,
    pictures,
    schemas,
    webhook_settings,
)
from .calls import Call, Handler
from .faults import EMPTY, NORMAL, Subject
from .http import FIRST_BYTE_AT, Reply, Reset, parse_body, read_body
from .schemas import Schema
from .sending import canned
from .shapes import ApiError, schema_error
from .simulator import HangUp, Simulator
from .store import Instance

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. Those with `named` carry an instance in their path."""

    handler: Handler
    schema: Schema | None = None
    named: bool = True
    open_to_all: bool = False


ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "instance/create"): Route(instances.create, named=False),
    ("GET", "instance/fetchInstances"): Route(instances.fetch_instances, named=False),
    ("GET", "instance/connectionState"): Route(instances.connection_state),
    ("GET", "instance/connect"): Route(instances.connect),
    ("POST", "instance/restart"): Route(instances.restart),
    ("DELETE", "instance/logout"): Route(instances.logout),
    ("DELETE", "instance/delete"): Route(instances.delete),
    ("POST", "settings/set"): Route(webhook_settings.set_settings, schemas.SETTINGS),
    ("GET", "settings/find"): Route(webhook_settings.find_settings),
    ("POST", "webhook/set"): Route(webhook_settings.set_webhook, schemas.WEBHOOK),
    ("GET", "webhook/find"): Route(webhook_settings.find_webhook),
    ("POST", "webhook/evolution"): Route(evolution_channel.inject, named=False, open_to_all=True),
    ("POST", "message/sendText"): Route(outgoing.send_text, schemas.SEND_TEXT),
    ("POST", "message/sendMedia"): Route(outgoing.send_media, schemas.SEND_MEDIA),
    ("POST", "message/sendWhatsAppAudio"): Route(outgoing.send_audio, schemas.SEND_AUDIO),
    ("POST", "message/sendSticker"): Route(outgoing.send_sticker, schemas.SEND_STICKER),
    ("POST", "message/sendLocation"): Route(outgoing.send_location, schemas.SEND_LOCATION),
    ("POST", "message/sendContact"): Route(outgoing.send_contact, schemas.SEND_CONTACT),
    ("POST", "message/sendReaction"): Route(outgoing.send_reaction, schemas.SEND_REACTION),
    ("POST", "message/sendPoll"): Route(outgoing.send_poll, schemas.SEND_POLL),
    ("POST", "message/sendList"): Route(outgoing.send_list, schemas.SEND_LIST),
    ("POST", "message/sendButtons"): Route(outgoing.send_buttons, schemas.SEND_BUTTONS),
    ("POST", "message/sendStatus"): Route(outgoing.send_status, schemas.SEND_STATUS),
    ("POST", "chat/whatsappNumbers"): Route(chats.whatsapp_numbers),
    ("POST", "chat/fetchProfilePictureUrl"): Route(chats.fetch_profile_picture),
    ("POST", "chat/markMessageAsRead"): Route(chats.mark_as_read, schemas.READ_MESSAGES),
    ("POST", "chat/sendPresence"): Route(chats.send_presence, schemas.SEND_PRESENCE),
    ("POST", "chat/updateMessage"): Route(chats.update_message, schemas.UPDATE_MESSAGE),
    ("DELETE", "chat/deleteMessageForEveryone"): Route(chats.delete_for_everyone, schemas.DELETE_MESSAGE),
    ("POST", "chat/getBase64FromMediaMessage"): Route(chats.get_base64),
    ("POST", "chat/findMessages"): Route(finding.find_messages, schemas.FIND_MESSAGES),
    ("POST", "chat/findStatusMessage"): Route(finding.find_status_message, schemas.FIND),
    ("POST", "chat/findChats"): Route(finding.find_chats, schemas.FIND),
    ("POST", "chat/findContacts"): Route(finding.find_contacts, schemas.FIND),
    ("GET", "chat/findChatByRemoteJid"): Route(finding.find_chat_by_remote_jid),
    ("GET", "pictures/view"): Route(pictures.view, named=False, open_to_all=True),
    ("GET", "group/findGroupInfos"): Route(groups.find_group_infos),
    ("GET", "group/participants"): Route(groups.participants),
    ("GET", "group/fetchAllGroups"): Route(groups.fetch_all_groups),
}
"""(method, path without the instance) -> endpoint."""

_WELCOME = {"status": 200, "message": "Welcome to the Evolution API, it is working!", "version": VERSION}


class EvolutionRoutes:
    """The ASGI app that answers everything outside /_control."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = await self._reply(scope, receive)
        except ConnectionAbortedError:
            return
        except HangUp:
            reply = Reset()
        self._sim.traffic.statuses[str(reply.status or "reset")] += 1
        await reply(scope, receive, send)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            return await self._dispatch(scope, receive)
        except ApiError as error:
            return Reply(error.status, error.body)
        except (ConnectionAbortedError, HangUp):
            raise
        except Exception as error:
            log.exception("request failed", extra={"path_length": len(scope["path"])})
            return Reply(
                500, {"status": 500, "error": "Internal Server Error", "response": {"message": str(error)}}
            )

    async def _dispatch(self, scope: Scope, receive: Receive) -> Reply:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        raw = await read_body(receive, self._sim.config.body_limit)
        body, upload = parse_body(raw, headers.get("content-type", ""))
        endpoint, name, route = _find(scope["method"], scope["path"])
        self._sim.traffic.requests[endpoint] += 1
        if route is None:
            if scope["path"] in {"", "/"}:
                return Reply(200, _WELCOME)
            raise ApiError(404, [f"Cannot {scope['method']} {scope['path']}"])
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        call = Call(self._sim, endpoint, query, headers, raw, body, upload, scope[FIRST_BYTE_AT])
        self._guard(call, route, name)
        return await _handle(call, route)

    def _guard(self, call: Call, route: Route, name: str | None) -> None:
        """Raises in Evolution's order: unknown instance, name taken, wrong key, body against the schema."""
        if route.named:
            call.target = self._instance(name or "")
        elif route.handler is instances.create:
            self._free_name(call)
        if not route.open_to_all and route.handler is not instances.fetch_instances:
            self._authorise(call)
        if route.named:
            call.target = self._sim.store.get(call.query.get("instanceName", "")) or call.target
        if route.schema is not None and (complaints := schemas.violations(call.body, route.schema)):
            raise schema_error(complaints)

    def _instance(self, name: str) -> Instance:
        instance = self._sim.store.get(name)
        if instance is None:
            raise ApiError(404, [f'The "{name}" instance does not exist'])
        return instance

    def _free_name(self, call: Call) -> None:
        name = call.body.get("instanceName", "undefined")
        if "instanceName" not in call.body or self._sim.store.get(name):
            raise ApiError(403, [f'This name "{name}" is already in use.'])

    def _authorise(self, call: Call) -> None:
        """The global key opens everything, an instance's token its own routes."""
        given = call.headers.get("apikey", "").encode()
        keys = [self._sim.config.api_key] + ([call.target.token] if call.target else [])
        if not any(hmac.compare_digest(given, key.encode()) for key in keys):
            raise ApiError(401, "Unauthorized")


def _find(method: str, path: str) -> tuple[str, str | None, Route | None]:
    """(endpoint, instance name, route); a route that needs a name does not exist without one."""
    parts = path.strip("/").split("/")
    endpoint = "/".join(parts[:2])
    route = ROUTES.get((method, endpoint))
    wanted = 3 if route is not None and route.named else 2
    if route is None or len(parts) != wanted:
        return endpoint, None, None
    return endpoint, (parts[2] if route.named else None), route


async def _handle(call: Call, route: Route) -> Reply:
    """Run the handler, unless a fault answers first. Sends look for their fault themselves."""
    if call.endpoint.startswith("message/"):
        return await route.handler(call)
    subject = Subject(call.endpoint, call.target.name if call.target else "", _number_of(call))
    fault = call.sim.faults.take(subject)
    if fault is None:
        return await route.handler(call)
    await call.sim.pause(fault.delay)
    if fault.answer in (NORMAL, EMPTY):
        call.empty = fault.answer == EMPTY
        return await route.handler(call)
    return await canned(fault, call, subject.number)


def _number_of(call: Call) -> str | None:
    number = call.body.get("number")
    return number if isinstance(number, str) else None
