"""A tenth of the webhooks is lost at random; after the healer nothing is missing and nothing double."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping

from testing.waiting import eventually

from apps.chat.models import Ack, Message
from apps.chat.tests.flow.world import CLEAN, build

SEED = int(os.environ.get("TEST_SEED") or random.randrange(1 << 32))


def test_what_a_tenth_of_lost_webhooks_left_out_is_healed(child_env: Mapping[str, str]) -> None:
    print(f"TEST_SEED={SEED}")
    chance = random.Random(SEED)
    with build(child_env) as world:
        world.worker(CHAT_HEAL_SECONDS="2")
        world.simulator.control("POST", "faults", {"webhook": "drop", "probability": 0.1})
        people = [f"5511400000{number:02}" for number in range(4)]
        lanes = [world.conversation(person) for person in people]
        wanted = []
        for number in range(40):
            text = f"customer {number:02}"
            body = {"instance": "flow", "text": text}
            world.simulator.control("POST", f"customers/{chance.choice(people)}/say", body)
            wanted.append(text)
            if number % 4 == 0:
                world.send(chance.choice(lanes))
        incoming = Message.objects.filter(direction="incoming")
        ours = Message.objects.filter(direction="outgoing")
        eventually(lambda: incoming.count() >= 40, 60, "every message of a customer")
        eventually(lambda: not ours.exclude(ack=Ack.SEEN).exists(), 60, "every acknowledgement")
        assert sorted(incoming.values_list("content", flat=True)) == wanted
        assert ours.count() == 10
        assert world.verdict() == CLEAN
