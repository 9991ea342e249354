"""Files, from the upload to WhatsApp and back as evidence: in order, once, whatever the provider answers."""

from __future__ import annotations

import base64
import io
import os
import uuid
from typing import Any

from PIL import Image
from testing.waiting import eventually

from apps.chat.tests.flow.world import World

OPUS = b"OggS\0\x02" + b"\0" * 22 + b"OpusHead\x01\x01" + b"\0" * 200


def png(seed: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 12 + seed), "teal").save(out, "PNG")
    return out.getvalue()


def upload(world: World, name: str, data: bytes, **form: str) -> str:
    answer = world.http.post("/api/chat/attachments/", files={"file": (name, data)}, data=form)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def send(world: World, lane: str, *files: str, content: str = "", **more: Any) -> list[str]:
    body = {
        "conversation": lane,
        "content": content,
        "attachments": files,
        "client_message_id": uuid.uuid4().hex,
    }
    answer = world.http.post("/api/chat/messages/", json={**body, **more})
    assert answer.status_code == 201, answer.text
    return [row["id"] for row in answer.json()["messages"]]


def accepted(world: World) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["text"]) for entry in world.simulator.accepted()]


def test_files_of_every_kind_leave_in_order_small_and_large(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    big = b"%PDF-1.7\n" + os.urandom(6 * 1024 * 1024)
    files = [
        upload(world, "foto.png", png()),
        upload(world, "laudo.pdf", b"%PDF-1.7\n" + b"\0" * 64),
        upload(world, "grande.pdf", big),
        upload(world, "recado.ogg", OPUS, voice="true"),
    ]
    quoted = world.send(lane, "antes")
    ids = send(world, lane, *files, content="Segue tudo", reply_to=quoted)
    after = world.send(lane, "depois")
    for one in [quoted, *ids, after]:
        world.wait_until(one, "delivered", "seen")
    assert accepted(world) == [
        ("conversation", "antes"),
        ("imageMessage", "Segue tudo"),
        ("documentMessage", ""),
        ("documentMessage", ""),
        ("audioMessage", ""),
        ("conversation", "depois"),
    ]
    rows = world.http.get(f"/api/chat/conversations/{lane}/messages/").json()["results"]
    assert len(rows) == 6, "echoes of files are no further messages"
    message = {"message": {"key": {"id": world.message(ids[2])["provider_id"]}}}
    kept = world.simulator.call("POST", "/chat/getBase64FromMediaMessage/flow", message)
    assert base64.b64decode(kept["base64"]) == big


def test_two_pictures_alike_and_a_lost_answer_are_sent_twice_and_not_more(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    world.wait_until(world.send(lane, "canário"), "delivered", "seen")
    fault = {"match": {"endpoint": "sendMedia"}, "times": 1, "accept": True, "answer": {"status": 504}}
    world.simulator.control("POST", "faults", fault)
    ids = send(world, lane, upload(world, "a.png", png()), upload(world, "a.png", png()))
    for one in ids:
        world.wait_until(one, "delivered", "seen", within=40)
    assert [kind for kind, _ in accepted(world)].count("imageMessage") == 2


def test_a_lost_answer_without_echo_is_found_in_evolutions_records(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    world.wait_until(world.send(lane, "canário"), "delivered", "seen")
    fault = {"match": {"endpoint": "sendMedia"}, "times": 1, "accept": True, "answer": {"status": 504}}
    world.simulator.control("POST", "faults", {**fault, "echo": "none"})
    (sent,) = send(world, lane, upload(world, "laudo.pdf", b"%PDF-1.7\n" + b"\0" * 64), content="O laudo")
    world.wait_until(sent, "submitted", "sent", "delivered", "seen", within=40)
    assert [kind for kind, _ in accepted(world)].count("documentMessage") == 1


def test_a_failure_of_the_third_never_sends_the_first_again(world: World) -> None:
    world.worker()
    lane = world.conversation("5511400005555")
    fault = {"match": {"endpoint": "sendWhatsAppAudio"}, "times": 1, "accept": False}
    refusal = {"status": 400, "error": "Bad Request", "response": {"message": [["instance requires x"]]}}
    world.simulator.control("POST", "faults", {**fault, "answer": {"status": 400, "body": refusal}})
    files = [
        upload(world, "1.png", png(1)),
        upload(world, "2.png", png(2)),
        upload(world, "3.ogg", OPUS, voice="1"),
    ]
    first, second, third = send(world, lane, *files)
    for one in (first, second):
        world.wait_until(one, "delivered", "seen")
    world.wait_until(third, "failed")
    assert world.http.post(f"/api/chat/messages/{third}/retry-send/", json={}).status_code == 200
    world.wait_until(third, "delivered", "seen")
    assert [kind for kind, _ in accepted(world)] == ["imageMessage", "imageMessage", "audioMessage"]


def test_while_whatsapp_takes_no_files_texts_of_others_go_out(world: World) -> None:
    world.worker()
    full = "Error: Media upload failed on all hosts"
    answer = {"status": 500, "body": {"status": 500, "error": "x", "response": {"message": [full]}}}
    fault = {"match": {"endpoint": "sendMedia"}, "times": 3, "accept": False, "answer": answer}
    world.simulator.control("POST", "faults", fault)
    lanes = [world.conversation(f"551140000{n:04d}") for n in range(4)]
    waiting = [send(world, lane, upload(world, "a.png", png(n)))[0] for n, lane in enumerate(lanes[:3])]
    for one in waiting:
        world.wait_until(one, "retrying")
    late = send(world, lanes[3], upload(world, "a.png", png(4)))[0]
    eventually(lambda: world.message(late)["reason"] == "media_circuit", 15, "the circuit to open")
    text = world.send(world.conversation("5511400009999"), "um texto")
    world.wait_until(text, "delivered", "seen")
    assert world.message(late)["attempts"] >= 1
    assert accepted(world) == [("conversation", "um texto")]
