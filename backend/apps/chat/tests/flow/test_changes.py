"""Edits and deletes are deliveries of their lane: in order, retried, and visible on our side once they are made."""

from __future__ import annotations

from testing.waiting import eventually

from apps.chat.tests.flow.world import World


def test_an_edit_and_a_delete_follow_their_message(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    sent = world.send(lane, "primeira versão")
    world.wait_until(sent, "delivered", "seen")
    answer = world.http.post(f"/api/chat/messages/{sent}/edit/", json={"content": "segunda versão"})
    assert answer.status_code == 200, answer.text
    eventually(lambda: world.message(sent)["content"] == "segunda versão", 15, "the edit to be made")
    assert world.message(sent)["edited_at"]
    later = world.send(lane, "outra")
    assert world.http.post(f"/api/chat/messages/{sent}/delete/").json()["result"] == "pending"
    eventually(lambda: world.message(sent)["deleted_at"], 15, "the delete to be made")
    world.wait_until(later, "delivered", "seen")
    kinds = [entry["kind"] for entry in world.simulator.accepted()]
    assert kinds == ["conversation", "edit", "conversation", "revoke"]
    assert world.http.post(f"/api/chat/messages/{sent}/edit/", json={"content": "x"}).status_code == 409


def test_an_unclear_edit_is_made_again_and_holds_nobody_up(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    sent = world.send(lane)
    world.wait_until(sent, "delivered", "seen")
    fault = {"match": {"endpoint": "updateMessage"}, "times": 1, "answer": {"status": 504, "body": {}}}
    world.simulator.control("POST", "faults", fault)
    world.http.post(f"/api/chat/messages/{sent}/edit/", json={"content": "corrigida"})
    later = world.send(lane)
    world.wait_until(later, "delivered", "seen")
    assert world.message(sent)["content"] == "corrigida"
    told = [
        entry["event"] for entry in world.http.get(f"/api/chat/messages/{sent}/timeline/").json()["results"]
    ]
    assert told.count("edit_asked") == told.count("edited") == 1
