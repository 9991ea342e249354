"""Recorded instance, chat, group, webhook and settings calls, replayed."""

from __future__ import annotations

from typing import Any

import pytest

from .support import RunningSimulator, capture, captured, normal, replay, shape

_PHONE = "customers/5511990000001"


def _replayed(running: RunningSimulator, name: str) -> tuple[tuple[int, Any], tuple[int, Any]]:
    case = capture("http", name)
    answer = replay(running, case)
    wanted = case["response"]
    return (answer.status_code, answer.json() if answer.content else ""), (wanted["status"], wanted["body"])


def _assert_same(running: RunningSimulator, name: str) -> None:
    got, wanted = _replayed(running, name)
    assert normal(got) == normal(wanted)


@pytest.mark.parametrize("name", ["create_baileys", "create_evolution", "stub_recreate_after_delete"])
def test_create(running: RunningSimulator, name: str) -> None:
    _assert_same(running, name)


@pytest.mark.parametrize(
    "name",
    [
        "connectionState_baileys_close",
        "stub_connectionState_open",
        "stub_restart_open",
        "stub_logout_open",
        "stub_delete_again",
        "evo_delete",
        "connect_evolution",
        "settings_find",
        "evo_fetchProfilePictureUrl_nonumber",
        "stub_findGroupInfos",
        "stub_settings_set",
        "stub_sendPresence",
        "stub_markMessageAsRead",
        "stub_markMessageAsRead_lid",
        "stub_deleteMessage_unknown",
        "stub_fetchProfilePictureUrl",
        "stub_fetchProfilePictureUrl_none",
        "in_no_numberid",
        "in_text",
        "in_text_nokey",
        "err_connecting_findMessages",
    ],
)
def test_as_recorded(lab: RunningSimulator, name: str) -> None:
    if name == "stub_findGroupInfos":
        got, wanted = _replayed(lab, name)
        assert shape(got[1]) == {**shape(wanted[1]), "descId": "str"}
        return
    _assert_same(lab, name)


@pytest.mark.parametrize("state", ["connecting", "open", "close"])
def test_connection_state(lab: RunningSimulator, state: str) -> None:
    lab.control("POST", "instances/lab-wa/state", {"state": state})
    answer = lab.call("GET", "/instance/connectionState/lab-wa")
    assert answer.json() == {"instance": {"instanceName": "lab-wa", "state": state}}


def test_logout_of_an_evolution_instance_is_not_undone_by_connect(lab: RunningSimulator) -> None:
    lab.call("DELETE", "/instance/logout/lab-evo2")
    for name in ("evo_connectionState_after_logout", "evo_connect_after_logout"):
        _assert_same(lab, name)
    _assert_same(lab, "evo_connectionState_after_reconnect")


def test_logout_of_a_closed_instance(lab: RunningSimulator) -> None:
    lab.control("POST", "instances/lab-wa/state", {"state": "close"})
    _assert_same(lab, "stub_logout_again")


def test_connect_gives_a_qr_code(lab: RunningSimulator) -> None:
    answer = lab.call("GET", "/instance/connect/lab-baileys").json()
    assert shape(answer) == {"pairingCode": "NoneType", "code": "str", "base64": "str", "count": "int"}
    assert (
        lab.call("GET", "/instance/connectionState/lab-baileys").json()["instance"]["state"] == "connecting"
    )


@pytest.mark.parametrize("name", ["fetchInstances_one", "stub_fetchInstances_after_406"])
def test_fetch_instances(lab: RunningSimulator, name: str) -> None:
    if "406" in name:
        lab.control("POST", "instances/lab-wa/state", {"state": "close", "reason": 406})
    got, wanted = _replayed(lab, name)
    assert got[0] == 200
    assert set(got[1][0]) == set(wanted[1][0])
    for column in (
        "name",
        "connectionStatus",
        "ownerJid",
        "integration",
        "number",
        "token",
        "disconnectionReasonCode",
    ):
        assert got[1][0][column] == wanted[1][0][column]


def test_an_instance_token_lists_only_its_own(lab: RunningSimulator) -> None:
    answer = lab.call("GET", "/instance/fetchInstances", key="lab-evo-token")
    assert [row["name"] for row in answer.json()] == ["lab-evo"]


def test_a_query_can_name_another_instance(lab: RunningSimulator) -> None:
    path = "/instance/connectionState/lab-evo?instanceName=lab-baileys"
    assert lab.call("GET", path, key="lab-evo-token").json()["instance"]["instanceName"] == "lab-baileys"


def test_webhook_settings(lab: RunningSimulator) -> None:
    replay(lab, capture("http", "create_evolution"))
    lab.hook("lab-evo", "http://127.0.0.1:58070/ok", headers={"X-Lab": "one"})
    for name in ("webhook_set_events", "webhook_set_disabled", "webhook_set_all"):
        _assert_same(lab, name)
    _assert_same(lab, "webhook_set_partial_keeps")
    _assert_same(lab, "webhook_set_partial_keeps_2")
    got, _ = _replayed(lab, "webhook_find")
    assert got[1]["events"] == ["SEND_MESSAGE"]


def test_no_webhook_is_null(lab: RunningSimulator) -> None:
    answer = lab.call("GET", "/webhook/find/lab-wa")
    assert (answer.status_code, answer.json()) == (200, None)


def _evolution_history(lab: RunningSimulator) -> None:
    """The sends and injections the find captures were taken after."""
    for name in captured("http", "evo_send*"):
        if "after_logout" not in name and "delay" not in name:
            replay(lab, capture("http", name))
    for name in captured("http", "in_*"):
        replay(lab, capture("http", name))


@pytest.mark.parametrize(
    "name", captured("http", "findMessages_*", "findChats_*", "findContacts_*", "findChatBy*")
)
def test_find(lab: RunningSimulator, name: str) -> None:
    _evolution_history(lab)
    got, wanted = _replayed(lab, name)
    assert got[0] == wanted[0]
    if name == "findMessages_page_string":
        assert "Expected Int, provided String" in got[1]["response"]["message"]
    elif name.startswith("findMessages_ts"):
        assert got[1]["messages"]["currentPage"] == 1
    elif name.startswith("findMessages"):
        _assert_same_records(got[1]["messages"], wanted[1]["messages"])
    elif name in {"findChats_all", "findChats_take"}:
        assert set(got[1][0]) == set(wanted[1][0])
        assert len(got[1]) >= len(wanted[1][:2])
    else:
        assert shape(got[1]) == shape(wanted[1])


def _assert_same_records(got: Any, wanted: Any) -> None:
    assert set(got) == set(wanted)
    assert got["currentPage"] == wanted["currentPage"]
    assert bool(got["total"]) == bool(wanted["total"])
    assert [set(record) for record in got["records"][:1]] == [set(record) for record in wanted["records"][:1]]
    if len(wanted["records"]) <= 3:
        assert len(got["records"]) == len(wanted["records"])


def test_time_filters_need_both_bounds_and_milliseconds(lab: RunningSimulator) -> None:
    sent = lab.send("when").json()
    at, jid = sent["messageTimestamp"], sent["key"]["remoteJid"]

    def total(**span: Any) -> int:
        where = {"key": {"remoteJid": jid}, "messageTimestamp": span}
        answer = lab.call("POST", "/chat/findMessages/lab-wa", {"where": where})
        return int(answer.json()["messages"]["total"])

    assert total(gte=(at - 5) * 1000, lte=(at + 5) * 1000) == 1
    assert total(gte="2020-01-01T00:00:00Z", lte="2100-01-01T00:00:00.000Z") == 1
    assert total(gte=at - 5, lte=at + 5) == 0
    assert total(gte=(at + 500) * 1000) == 1


def test_offset_is_the_page_size(lab: RunningSimulator) -> None:
    for index in range(7):
        lab.send(f"n{index}")
    answer = lab.call("POST", "/chat/findMessages/lab-wa", {"page": 2, "offset": 3, "limit": 1}).json()[
        "messages"
    ]
    assert (answer["total"], answer["pages"], answer["currentPage"], len(answer["records"])) == (7, 3, 2, 3)


def test_a_record_of_a_send_is_as_recorded(lab: RunningSimulator) -> None:
    lab.control("POST", "switches", {"acks": False})
    lab.send("@5511990000002 hi")
    wanted = capture("http", "stub_findMessages_offset0")["response"]["body"]["messages"]["records"][0]
    got = lab.call("POST", "/chat/findMessages/lab-wa", {}).json()["messages"]["records"][0]
    assert normal(got) == normal(wanted)


def test_status_history(lab: RunningSimulator) -> None:
    lab.control("POST", "customers", {"number": "5511990000001", "server_ack": True, "reads": False})
    key_id = lab.send("synthetic outbound 1").json()["key"]["id"]
    wanted = capture("http", "stub_findStatusMessage_sent")["response"]["body"]

    def history() -> Any:
        body = {"where": {"id": key_id}}
        found = lab.call("POST", "/chat/findStatusMessage/lab-wa", body).json()
        return found if len(found) == 2 else None

    from .support import until

    assert normal(until(history)) == normal(wanted)


def test_status_history_is_filtered_by_id_and_chat_and_paged(lab: RunningSimulator) -> None:
    lab.control("POST", "customers", {"number": "5511990000001", "server_ack": True, "reads": False})
    key_id = lab.send("synthetic outbound 1").json()["key"]["id"]

    def words(**more: Any) -> list[str]:
        body = {"where": {"id": key_id, **more.pop("where", {})}, **more}
        return [row["status"] for row in lab.call("POST", "/chat/findStatusMessage/lab-wa", body).json()]

    from .support import until

    until(lambda: len(words()) == 2)
    assert words(offset=1, page=2) == ["DELIVERY_ACK"]
    assert len(words(where={"fromMe": False, "participant": "nobody"})) == 2
    assert words(where={"remoteJid": "5511990000002@s.whatsapp.net"}) == []
    assert words(where={"id": "3EB0NOSUCH"}) == []


def test_whatsapp_numbers(lab: RunningSimulator) -> None:
    lab.control(
        "POST", "customers", {"number": "5511990000009", "name": "Ana Test", "lid": "111111111111111@lid"}
    )
    _assert_same(lab, "stub_whatsappNumbers")


def test_participants_are_named_from_contacts(lab: RunningSimulator) -> None:
    person = {"number": "5511990000009", "name": "Ana Test", "lid": "111111111111111@lid"}
    person["picture"] = "https://pps.example.com/111111111111111.jpg"
    lab.control("POST", "customers", person)
    lab.control("POST", "customers/5511990000009/say", {"instance": "lab-wa", "text": "hi"})
    _assert_same(lab, "stub_participants")


def test_get_base64(lab: RunningSimulator) -> None:
    said = {
        "instance": "lab-wa",
        "key_id": "3A000000000000000007",
        "kind": "image",
        "caption": "photo caption",
    }
    lab.control("POST", f"{_PHONE}/say", said)
    got, wanted = _replayed(lab, "stub_getBase64")
    got[1]["size"] |= {"height": 100, "width": 80}
    assert normal(got) == normal(wanted)


def test_delete_marks_the_row(lab: RunningSimulator) -> None:
    key = lab.send("v2 mine").json()["key"]
    answer = lab.call("DELETE", "/chat/deleteMessageForEveryone/lab-wa", key)
    wanted = capture("http", "stub_deleteMessage")["response"]["body"]
    assert normal(answer.json()) == normal(wanted)
    row = lab.call("POST", "/chat/findMessages/lab-wa", {}).json()["messages"]["records"][0]
    assert row["key"]["deleted"] is True
    assert {"status": "DELETED"} in row["MessageUpdate"]


def test_read_keys_of_lids_are_dropped_silently(lab: RunningSimulator) -> None:
    replay(lab, capture("http", "stub_markMessageAsRead"))
    replay(lab, capture("http", "stub_markMessageAsRead_lid"))
    reads = lab.control("GET", "reads")["reads"]
    assert [read["reached_whatsapp"] for read in reads] == [True, False]
