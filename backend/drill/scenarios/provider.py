"""Evolution answering wrongly, late, or not at all, having accepted the message or not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from drill.load import Lane
from drill.oracle import Owed
from drill.scenario import Drill, scenario

# What the caller is told, as faults of the simulator.
ANSWERS: Mapping[str, dict[str, Any]] = {
    "resets": {"preset": "E22"},
    "400": {"preset": "E8"},
    "504": {"preset": "E20"},
    "hangs": {"preset": "hang"},
}


def _unclear(name: str, *, accepts: bool) -> None:
    what = "accepts, then" if accepts else "does not accept and"

    @scenario(
        18 if accepts else 19,
        f"{'accepts' if accepts else 'refuses'}-then-{name}",
        f"Evolution {what} {'answers ' + name if name.isdigit() else name}, for one message in {4 if accepts else 8}",
        "sent by evidence, nothing resent" if accepts else "resent exactly once",
    )
    def unclear(drill: Drill) -> None:
        drill.warm_up()
        # The same few texts each time they are tried: the fault must not strike the second try of one.
        victims = "|".join(f"n{n:05d}" for n in range(1, drill.messages + 1, 4 if accepts else 8))
        fault = {**ANSWERS[name], "match": {"text_regex": victims}, "accept": accepts}
        if accepts:
            drill.world.fault(**fault)
        else:
            for text in victims.split("|"):
                drill.world.fault(**{**fault, "match": {"text_regex": text}, "times": 1})
        drill.worker()
        drill.worker()
        drill.write_all(lanes=max(24, drill.messages // 10))
        drill.settle(drill.world.times.patience * 3)
        struck, again = victims.count("|") + 1, _sent_again(drill)
        drill.figure("struck", struck)
        drill.figure("resent", again)
        wanted = 0 if accepts else struck
        drill.check(again == wanted, f"{again} messages were sent a second time instead of {wanted}")


def _sent_again(drill: Drill) -> int:
    """Messages of which more than one attempt left; those that the self-fence stopped do not count."""
    return drill.world.database.number(
        "SELECT count(*) FROM (SELECT delivery_id FROM chat_attempt WHERE bytes_left GROUP BY delivery_id"
        " HAVING count(*) > 1) AS again"
    )


for _name in ANSWERS:
    _unclear(_name, accepts=True)
    _unclear(_name, accepts=False)


@scenario(
    20,
    "accepts-late",
    "Evolution accepts seconds after the worker that asked it was killed",
    "nothing doubled inside the settle time",
)
def accepts_late(drill: Drill) -> None:
    drill.warm_up()
    # As late as the settle time allows for: that of the fence and a margin are not the provider's.
    late = 60.0 if drill.world.times.name == "real" else 4.0
    drill.world.fault(delay=late, times=24)
    worker = drill.worker()
    drill.write_all(24, lanes=24)
    drill.wait_for(lambda: drill.world.database.number("SELECT count(*) FROM chat_delivery WHERE state = 1"),
                   20, "a send")  # fmt: skip
    time.sleep(1)
    worker.kill()
    drill.say(f"the worker is dead, its sends are accepted {late:g} s after they came")
    drill.worker()
    drill.write_all()
    drill.settle()
    drill.figure("second_attempts", _sent_again(drill))


# --- when evidence cannot be had ------------------------------------------------------------------


def _release(drill: Drill, held: list[Owed]) -> None:
    """What a person decides who can look at the customer's phone: discard what arrived, send what did not."""
    arrived = {(sent.lane, sent.text) for sent in drill.world.accepted()}
    for message in held:
        action = "discard" if (message.lane, message.text) in arrived else "send"
        drill.tenant.call("POST", f"messages/{_dashed(message)}/release/", {"action": action})


def _dashed(message: Owed) -> str:
    text = message.id
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _silent(drill: Drill, *, accept: bool, lanes: list[Lane]) -> list[Owed]:
    """One message per lane that is answered by a reset and leaves no webhook; two more behind each."""
    drill.world.fault(answer="reset", accept=accept, echo="none", acks=[], times=len(lanes))
    first = [drill.post(lane) for lane in lanes]
    for lane in lanes * 2:
        drill.post(lane)
    return first


def _held_then_released(drill: Drill, first: list[Owed]) -> None:
    drill.worker()
    drill.may_hold = True
    took = drill.settle(drill.world.times.settle + drill.world.times.patience)
    held = [message for message in first if drill.status(message) == "held"]
    drill.figure("held", len(held))
    drill.figure("held_after", took)
    drill.check(len(held) == len(first), f"only {len(held)} of {len(first)} were held")
    drill.world.heal()
    _release(drill, held)
    drill.say("a person has decided; the lanes go on")
    drill.may_hold = False
    drill.settle()


def _no_evidence(name: str, fault: str, spec: dict[str, Any]) -> None:
    for accept in (True, False):

        @scenario(
            21,
            f"{name}-{'accepted' if accept else 'refused'}",
            f"{fault}, after a send that was {'accepted' if accept else 'not accepted'}, reset and never echoed",
            "held, never resent blind",
        )
        def no_evidence(drill: Drill, accept: bool = accept) -> None:
            if name == "not-persisted":
                switches = {"persist": False, "acks": False, "echo": "none"}
                drill.world.simulator.control("POST", "switches", switches)
                drill.warm_up(until=("submitted",))
            else:
                drill.warm_up()
                drill.world.fault(**spec)
            _held_then_released(drill, _silent(drill, accept=accept, lanes=drill.lanes(3)))


_no_evidence("find-empty", "findMessages is empty", {"preset": "find_empty"})
_no_evidence("find-500", "findMessages answers 500", {"preset": "find_500"})
_no_evidence("not-persisted", "the server stores no messages", {})


# --- texts that are equal -------------------------------------------------------------------------


@scenario(
    22,
    "same-text",
    "the same text 50 times in one conversation, one in three answered by a reset",
    "exact count",
)
def same_text(drill: Drill) -> None:
    drill.warm_up()
    drill.world.fault(preset="E22", probability=0.33)
    drill.worker()
    drill.worker()
    lane = drill.lanes(1)[0]
    for _ in range(50):
        drill.post(lane, "Bom dia!")
    drill.settle(drill.world.times.patience * 3)
    count = sum(1 for sent in drill.world.accepted() if sent.text == "Bom dia!")
    drill.check(count == 50, f"it was sent {count} times")


@scenario(
    22,
    "same-text-refused",
    "the same text 20 times in one conversation, one in three answered by a reset and not accepted",
    "exact count",
)
def same_text_refused(drill: Drill) -> None:
    drill.warm_up()
    drill.world.fault(preset="E22", accept=False, times=4)
    drill.worker()
    lane = drill.lanes(1)[0]
    for _ in range(20):
        drill.post(lane, "Bom dia!")
    drill.settle(drill.world.times.patience * 3)
    count = sum(1 for sent in drill.world.accepted() if sent.text == "Bom dia!")
    drill.check(count == 20, f"it was sent {count} times")


@scenario(
    23,
    "typed-on-the-phone",
    "the operator types the same text on the phone while ours, not accepted, is unclear",
    "not taken for ours: sent by us once, or held",
)
def typed_on_the_phone(drill: Drill) -> None:
    drill.warm_up()
    lanes = drill.lanes(4)
    drill.world.fault(answer="reset", accept=False, times=len(lanes))
    messages = [drill.post(lane) for lane in lanes]
    drill.worker()
    drill.wait_for(lambda: all(drill.rows()[message.id].attempts for message in messages), 30, "the sends")
    for lane, message in zip(lanes, messages, strict=True):
        drill.world.simulator.control(
            "POST", "phone/say", {"instance": "drill", "number": lane.phone, "text": message.text}
        )
    drill.say("the same texts were typed on the phone")
    drill.may_hold = True
    drill.settle()
    held = [message for message in messages if drill.status(message) == "held"]
    drill.figure("held", len(held))
    _release(drill, held)
    drill.may_hold = False
    drill.settle()
