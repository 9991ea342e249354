"""The life of an instance, and the webhooks that tell of it."""

from __future__ import annotations

from .support import Receiver, RunningSimulator, until


def test_creation_and_deletion_are_announced(running: RunningSimulator, receiver: Receiver) -> None:
    webhook = {"enabled": True, "url": receiver.url, "events": []}
    made = running.create("lab", webhook=webhook)
    about = {"instanceName": "lab", "instanceId": made["instance"]["instanceId"]}
    assert receiver.wait("instance.create")[0].body["data"] == about
    running.open("lab")
    running.call("DELETE", "/instance/delete/lab")
    assert receiver.wait("instance.delete")[0].body["data"] == about
    for event in ("remove.instance", "logout.instance", "status.instance", "connection.update"):
        receiver.wait(event)
    assert running.call("GET", "/instance/connectionState/lab").status_code == 404
    assert running.create("lab")["instance"]["instanceId"] != about["instanceId"]


def test_a_webhook_without_events_undoes_the_creation(running: RunningSimulator) -> None:
    body = {"instanceName": "lab", "integration": "WHATSAPP-BAILEYS", "webhook": {"url": "http://x.example"}}
    answer = running.call("POST", "/instance/create", body)
    assert answer.status_code == 400
    assert answer.json()["response"]["message"] == ["Cannot read properties of undefined (reading 'length')"]
    assert running.call("GET", "/instance/connectionState/lab").status_code == 404


def test_a_name_can_be_taken_only_once(running: RunningSimulator) -> None:
    running.create("lab")
    body = {"instanceName": "lab", "integration": "WHATSAPP-BAILEYS"}
    answer = running.call("POST", "/instance/create", body, key=None)
    assert answer.status_code == 403
    assert answer.json()["response"]["message"] == ['This name "lab" is already in use.']


def test_pairing(running: RunningSimulator, receiver: Receiver) -> None:
    running.create("lab")
    running.hook("lab", receiver.url)
    code = running.call("GET", "/instance/connect/lab?number=5511900000000").json()
    assert code["pairingCode"]
    assert receiver.wait("qrcode.updated")[0].body["data"]["qrcode"]["code"] == code["code"]
    assert "sender" not in receiver.wait("connection.update")[0].body
    running.control("POST", "instances/lab/state", {"state": "open"})
    opened = receiver.wait("connection.update", 2)[-1].body
    assert opened["data"]["state"] == "open"
    assert opened["sender"] == opened["data"]["wuid"]


def test_each_instance_has_a_phone_of_its_own(running: RunningSimulator) -> None:
    for name in ("one", "two"):
        running.create(name)
    owners = [
        running.control("POST", f"instances/{n}/state", {"state": "open"})["own_jid"] for n in ("one", "two")
    ]
    assert len(set(owners)) == 2


def test_logout_answers_first(running: RunningSimulator, receiver: Receiver) -> None:
    running.create("lab")
    running.open("lab")
    running.hook("lab", receiver.url)
    answer = running.call("DELETE", "/instance/logout/lab")
    assert answer.json()["response"]["message"] == "Instance logged out"
    assert receiver.wait("connection.update")[0].body["data"]["statusReason"] == 401
    state = "/instance/connectionState/lab"
    until(lambda: running.call("GET", state).json()["instance"]["state"] == "close")
