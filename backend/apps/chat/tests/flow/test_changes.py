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


LIKE, LOVE = "\U0001f44d", "\u2764\ufe0f"


def _react(world: World, message: str, emoji: str) -> None:
    answer = world.http.post("/api/chat/reactions/add/", json={"message": message, "emoji": emoji})
    assert answer.status_code == 201, answer.text


def test_a_reaction_keeps_its_place_between_messages(world: World) -> None:
    lane = world.conversation("5511400005555")
    world.worker()
    first = world.send(lane)
    world.wait_until(first, "delivered", "seen")
    provider_id = world.message(first)["provider_id"]
    _react(world, first, LIKE)
    second = world.send(lane)
    world.wait_until(second, "delivered", "seen")
    assert world.http.post("/api/chat/reactions/remove/", json={"message": first}).status_code == 201
    third = world.send(lane)
    world.wait_until(third, "delivered", "seen")
    kinds = [(entry["kind"], entry["text"]) for entry in world.simulator.accepted()]
    assert [kind for kind, _ in kinds] == ["conversation", "reactionMessage"] * 2 + ["conversation"]
    assert [text for kind, text in kinds if kind == "reactionMessage"] == [LIKE, ""]
    shown = world.message(first)
    assert (shown["provider_id"], shown["reactions"]) == (provider_id, [])
    rows = world.http.get(f"/api/chat/conversations/{lane}/messages/").json()["results"]
    assert len(rows) == 3, "an echo of a reaction is no message"


def test_an_unclear_reaction_is_made_again_and_shown_once(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    sent = world.send(lane)
    world.wait_until(sent, "delivered", "seen")
    fault = {"match": {"endpoint": "sendReaction"}, "times": 1, "accept": True, "answer": {"status": 504}}
    world.simulator.control("POST", "faults", {**fault, "echo": "none"})
    _react(world, sent, LOVE)
    later = world.send(lane)
    world.wait_until(later, "delivered", "seen")
    assert [row["emoji"] for row in world.message(sent)["reactions"]] == [LOVE]
    assert [entry["kind"] for entry in world.simulator.accepted()].count("reactionMessage") == 2


def test_a_refused_reaction_is_not_shown_any_more(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    sent = world.send(lane)
    world.wait_until(sent, "delivered", "seen")
    refusal = {
        "status": 400,
        "body": {"status": 400, "error": "Bad Request", "response": {"message": [["x"]]}},
    }
    fault = {"match": {"endpoint": "sendReaction"}, "times": 1, "accept": False, "answer": refusal}
    world.simulator.control("POST", "faults", fault)
    _react(world, sent, LOVE)
    eventually(lambda: not world.message(sent)["reactions"], 15, "the reaction to go")
