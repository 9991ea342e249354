"""`instances/`: making, pairing, restarting, logging out and removing a number, against a simulated Evolution."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from testing import servers

from apps.chat import instance_office, journal
from apps.chat.models import Instance
from apps.chat.tests.api.world import Team
from apps.tenancy.models import Membership


@pytest.fixture(scope="module")
def evolution() -> Iterator[servers.Simulator]:
    with servers.simulator("--seed", "1") as running:
        yield running


@pytest.fixture(autouse=True)
def _server(evolution: servers.Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EVOLUTION_URL, settings.EVOLUTION_API_KEY = evolution.url, evolution.api_key
    settings.PUBLIC_URL = "http://127.0.0.1:1"
    monkeypatch.setattr(instance_office, "_QR_PAUSE_SECONDS", 0.05)


def made(team: Team, **more: Any) -> dict[str, Any]:
    answer = team.post("instances/", {"name": f"n-{secrets.token_hex(4)}", **more})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def known(evolution: servers.Simulator, name: str) -> list[dict[str, Any]]:
    rows = evolution.call("GET", "/instance/fetchInstances")
    return [row for row in rows if row["name"] == name]


def open_(evolution: servers.Simulator, name: str) -> None:
    evolution.control("POST", f"instances/{name}/state", {"state": "open"})


def test_a_number_is_made_there_and_here_with_its_webhook(team: Team, evolution: servers.Simulator) -> None:
    shown = made(team)
    row = Instance.objects.get(pk=shown["id"])
    assert (row.tenant_id, row.base_url, row.connection) == (team.tenant.pk, evolution.url, "close")
    assert shown["webhook"] == {
        "ok": True,
        "state": "registered",
        "sentence": shown["webhook"]["sentence"],
    }
    (theirs,) = known(evolution, row.name)
    assert theirs["token"] == row.api_key != evolution.api_key
    text = str(shown)
    assert not [secret for secret in (row.api_key, row.webhook_secret, evolution.api_key) if secret in text]


def test_pairing_by_qr_code_until_it_is_open(team: Team, evolution: servers.Simulator) -> None:
    shown = made(team)
    path = f"instances/{shown['id']}/"
    paired = team.post(f"{path}connect/").json()
    assert paired["qr_code"]["base64"].startswith("data:image/png;base64,")
    assert (paired["state"], paired["recreated"]) == ("connecting", False)
    assert team.get(f"{path}qr-code/").json()["qr_code"] == paired["qr_code"]
    open_(evolution, shown["name"])
    again = team.post(f"{path}connect/").json()
    assert (again["state"], again["qr_code"]) == ("open", None)
    assert team.get(f"{path}state/").json()["state"] == "open"
    assert team.get(path).json()["connection"] == "open"
    assert team.get(f"{path}qr-code/").json()["qr_code"] is None


def test_pairing_by_a_code_to_type(team: Team) -> None:
    paired = team.post(f"instances/{made(team)['id']}/connect/", {"number": "+55 11 99000-0001"}).json()
    assert paired["qr_code"]["pairing_code"] == "ABCD1234"


def test_pairing_again_after_a_logout_makes_it_anew(team: Team, evolution: servers.Simulator) -> None:
    """In one Evolution process a number that was logged out and paired again receives nothing (EVOLUTION.md 0.11)."""
    shown = made(team)
    path, name = f"instances/{shown['id']}/", shown["name"]
    team.post(f"{path}connect/")
    open_(evolution, name)
    before = known(evolution, name)[0]["id"]
    assert team.post(f"{path}logout/").json() == {"state": "close", "done": True}
    row = Instance.objects.get(pk=shown["id"])
    assert (row.connection, row.gate_reason) == ("close", "logged_out")
    paired = team.post(f"{path}connect/").json()
    assert paired["recreated"]
    assert paired["qr_code"]
    assert known(evolution, name)[0]["id"] != before
    assert team.post(f"{path}setup-webhook/").json()["ok"]
    assert not team.post(f"{path}connect/").json()["recreated"]


def test_logging_out_twice_is_no_error(team: Team) -> None:
    shown = made(team)
    assert team.post(f"instances/{shown['id']}/logout/").json()["done"] is False


def test_a_restart_frees_a_mute_number(team: Team, evolution: servers.Simulator) -> None:
    shown = made(team)
    open_(evolution, shown["name"])
    Instance.objects.filter(pk=shown["id"]).update(gate=Instance.Gate.PARKED, gate_reason="mute")
    assert team.post(f"instances/{shown['id']}/restart/").json() == {"state": "open", "done": True}
    assert Instance.objects.get(pk=shown["id"]).gate == Instance.Gate.OPEN


def test_a_closed_number_cannot_be_restarted(team: Team) -> None:
    answer = team.post(f"instances/{made(team)['id']}/restart/")
    assert (answer.status_code, answer.json()["code"]) == (502, "evolution_refused")
    assert "Connect it" in answer.json()["detail"]


def test_removing_a_number_without_history(team: Team, evolution: servers.Simulator) -> None:
    shown = made(team)
    assert team.client.delete(f"/api/chat/instances/{shown['id']}/").json() == {"removed": True}
    assert not Instance.objects.filter(pk=shown["id"]).exists()
    assert known_or_none(evolution, shown["name"]) == []


def known_or_none(evolution: servers.Simulator, name: str) -> list[dict[str, Any]]:
    return known(evolution, name)


def test_a_number_with_history_is_kept_frozen_and_can_come_back(
    team: Team, evolution: servers.Simulator
) -> None:
    shown = made(team)
    path = f"instances/{shown['id']}/"
    body = {"contact_phone": "+55 85 99000-0007", "instance_id": shown["id"]}
    assert team.post("conversations/start/", body).status_code == 201
    assert team.client.delete(f"/api/chat/{path}").json() == {"removed": False}
    row = Instance.objects.get(pk=shown["id"])
    assert (row.gate, row.gate_reason) == (Instance.Gate.FROZEN, "removed")
    paired = team.post(f"{path}connect/").json()
    assert paired["recreated"]
    assert Instance.objects.get(pk=shown["id"]).gate == Instance.Gate.PARKED
    assert len(known(evolution, shown["name"])) == 1


def test_one_that_evolution_lost_is_made_anew_by_connecting(team: Team, evolution: servers.Simulator) -> None:
    shown = made(team)
    evolution.call("DELETE", f"/instance/delete/{shown['name']}")
    answer = team.get(f"instances/{shown['id']}/state/")
    assert answer.status_code == 502
    assert "makes it anew" in answer.json()["detail"]
    assert team.post(f"instances/{shown['id']}/connect/").json()["recreated"]


def test_a_name_that_is_taken_leaves_nothing_behind(team: Team, others: Team) -> None:
    shown = made(team)
    for asker in (team, others):
        answer = asker.post("instances/", {"name": shown["name"]})
        assert answer.status_code == 409, answer.content
    assert Instance.objects.filter(name=shown["name"]).count() == 1


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "a?b", "x" * 101, "a\nb", "\x00"])
def test_names_that_cannot_be_used(team: Team, name: str) -> None:
    assert team.post("instances/", {"name": name}).status_code == 400


def test_without_a_server_it_says_what_to_do(team: Team, settings: Any) -> None:
    settings.EVOLUTION_URL = ""
    Instance.objects.filter(pk=team.instance.pk).update(api_key="")
    answer = team.post("instances/", {"name": "x"})
    assert answer.status_code == 409
    assert "EVOLUTION_URL" in answer.json()["detail"]


def test_the_tenants_first_number_tells_the_server(
    team: Team, evolution: servers.Simulator, settings: Any
) -> None:
    settings.EVOLUTION_URL = ""
    Instance.objects.filter(pk=team.instance.pk).update(base_url=evolution.url)
    row = Instance.objects.get(pk=team.instance.pk)
    row.api_key = evolution.api_key
    row.save(update_fields=["api_key"])
    assert made(team)["webhook"]["ok"]


def test_an_unreachable_evolution_leaves_nothing_behind(team: Team, settings: Any) -> None:
    settings.EVOLUTION_URL = "http://127.0.0.1:1"
    answer = team.post("instances/", {"name": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (502, "Evolution cannot be reached.")
    assert not Instance.objects.filter(name="x").exists()


def test_agents_look_and_do_not_touch(team: Team) -> None:
    Membership.objects.filter(user=team.user).update(role=Membership.Role.AGENT)
    pk = team.instance.pk
    assert team.get("instances/").status_code == 200
    assert team.post("instances/", {"name": "x"}).status_code == 403
    for verb in ("connect", "restart", "logout", "setup-webhook"):
        assert team.post(f"instances/{pk}/{verb}/").status_code == 403
    assert team.get(f"instances/{pk}/qr-code/").status_code == 403
    assert team.client.delete(f"/api/chat/instances/{pk}/").status_code == 403


def test_the_policy_of_read_receipts(team: Team) -> None:
    path = f"/api/chat/instances/{team.instance.pk}/"
    assert (
        team.client.patch(path, {"read_receipts": "on_reply"}, format="json").json()["read_receipts"]
        == "on_reply"
    )
    assert team.client.patch(path, {"read_receipts": "sometimes"}, format="json").status_code == 400
    assert journal.drain(1)
