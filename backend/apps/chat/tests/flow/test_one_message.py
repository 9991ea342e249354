"""A message from HTTP to WhatsApp and back, through every process there is."""

from __future__ import annotations

from apps.chat.tests.flow.world import CLEAN, World, events


def test_it_travels_and_everybody_sees_it(world: World) -> None:
    world.worker()
    socket = world.socket()
    conversation = world.conversation("5511400001111")
    sent = world.send(conversation, "Olá, tudo bem?")
    statuses = [
        event["status"]
        for event in events(socket, lambda event: event.get("status") == "seen")
        if event["type"] == "message_status_update" and event["message_id"] == sent
    ]
    ranks = ["sending", "submitted", "sent", "delivered", "seen"]
    assert statuses == sorted(statuses, key=ranks.index), "a status never moves back"
    assert {"sending", "delivered", "seen"} <= set(statuses)
    world.simulator.control(
        "POST", "customers/5511400001111/say", {"instance": "flow", "text": "Tudo, e aí?"}
    )
    answer = events(socket, lambda event: event["type"] == "message_received")[-1]["message"]
    assert (answer["direction"], answer["content"]) == ("incoming", "Tudo, e aí?")
    shown = world.http.get(f"/api/chat/conversations/{conversation}/").json()
    assert (shown["unread_count"], shown["last_message_preview"]) == (1, "Tudo, e aí?")
    final = world.message(sent)
    assert (final["status"], final["attempts"]) == ("seen", 1)
    assert world.verdict() == CLEAN


def test_the_timeline_tells_each_step(world: World) -> None:
    world.worker()
    sent = world.send(world.conversation("5511400001111"))
    world.wait_until(sent, "seen")
    told = [
        entry["event"] for entry in world.http.get(f"/api/chat/messages/{sent}/timeline/").json()["results"]
    ]
    assert told[0] == "created"
    assert told.index("attempt_started") < told.index("attempt_accepted") < told.index("seen")
    assert world.http.get("/api/chat/reactions/queues/status/").json()["alerts"] == []


def test_a_read_conversation_is_told_to_whatsapp_once(world: World) -> None:
    world.worker()
    for text in ("um", "dois", "três"):
        world.simulator.control("POST", "customers/5511400002222/say", {"instance": "flow", "text": text})
    from testing.waiting import eventually

    conversation = world.conversation("5511400002222")
    eventually(
        lambda: world.http.get(f"/api/chat/conversations/{conversation}/").json()["unread_count"] == 3,
        15,
        "3 unread",
    )
    assert world.http.post(f"/api/chat/conversations/{conversation}/mark_as_read/").status_code in (200, 204)
    eventually(lambda: world.simulator.control("GET", "reads")["reads"], 15, "a read receipt")
    assert world.http.get(f"/api/chat/conversations/{conversation}/").json()["unread_count"] == 0
