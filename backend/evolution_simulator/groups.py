"""Groups, and the two endpoints that describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .http import Reply
from .numbers import GROUP_SUFFIX
from .shapes import ApiError, Json, bad_request, undefined
from .store import Instance

if TYPE_CHECKING:
    from .calls import Call

_GROUP_JID = re.compile(r"^[\d-]+@g.us$")


@dataclass(slots=True)
class Group:
    """A group WhatsApp knows. Participants are {"id", "phoneNumber"?, "admin"}."""

    jid: str
    subject: str = "Grupo"
    owner: str | None = None
    desc: str | None = None
    picture: str | None = None
    participants: list[Json] = field(default_factory=list)

    def as_json(self) -> Json:
        """The body of findGroupInfos."""
        return {
            "id": self.jid, "subject": self.subject, "subjectOwner": self.owner, "subjectTime": 1700000000,
            "pictureUrl": self.picture or f"https://pps.example.com/{self.jid.split('@')[0]}.jpg",
            "size": len(self.participants), "creation": 1690000000, "owner": self.owner, "desc": self.desc,
            "descId": "D1" if self.desc else None, "restrict": False, "announce": False,
            "participants": self.participants, "isCommunity": False, "isCommunityAnnounce": False,
        }  # fmt: skip


async def find_group_infos(call: Call) -> Reply:
    """GET /group/findGroupInfos: any failure is a 404."""
    return Reply(200, _group(call, "Error fetching group").as_json())


async def participants(call: Call) -> Reply:
    """GET /group/participants: names and pictures come from the contacts the instance has seen."""
    group = _group(call, "No participants")
    return Reply(200, {"participants": [_described(call.instance, person) for person in group.participants]})


async def fetch_all_groups(call: Call) -> Reply:
    """GET /group/fetchAllGroups: every group, with or without its participants."""
    wanted = call.query.get("getParticipants")
    if wanted is None:
        raise bad_request("The getParticipants needs to be informed in the query")
    groups = [group.as_json() for group in call.sim.groups.values()]
    if wanted != "true":
        groups = [
            {name: value for name, value in group.items() if name != "participants"} for group in groups
        ]
    return Reply(200, groups)


def _group(call: Call, failure: str) -> Group:
    jid = _group_jid(call)
    call.require_baileys()
    if not call.instance.is_open:
        why = (
            "Error: Connection Closed"
            if call.instance.has_socket
            else f"TypeError: {undefined('groupMetadata')}"
        )
        raise ApiError(404, [failure, why])
    group = call.sim.groups.get(jid)
    if group is None:
        raise ApiError(404, [failure, "Error: item-not-found"])
    return group


def _group_jid(call: Call) -> str:
    jid = call.query.get("groupJid") or call.body.get("groupJid")
    if not jid:
        raise bad_request("The group id needs to be informed in the query", 'ex: "groupJid=120362@g.us"')
    jid = jid if jid.endswith(GROUP_SUFFIX) else jid + GROUP_SUFFIX
    if not _GROUP_JID.match(jid):
        complaint = 'groupJid does not match pattern "^[\\\\d-]+@g.us$"'
        raise bad_request({"property": "groupJid", "message": complaint})
    return str(jid)


def _described(instance: Instance, person: Json) -> Json:
    contact = instance.contacts.get(person["id"])
    if contact is None:
        return person
    known = {"name": contact.name, "imgUrl": contact.picture}
    return {**person, **{name: value for name, value in known.items() if value is not None}}
