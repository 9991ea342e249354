"""The worlds that are looked at, the guards that can be taken out, and what no rule closes.

A world's faults: crash (of a worker or resolver), slow (a living worker is taken for dead), refuse (a definite no),
blind (findMessages answers, but with nothing), nowhere (accepted, stored nowhere, answered "failed after send"), reject
(an ack ERROR), flushall. Its persons: cancel, edit, release, discard, replay.
"""

from __future__ import annotations

from typing import NamedTuple

from model.state import Bounds

# Messages per lane, and what may happen. Seconds each: for `make test`, and to show what each guard is for.
SMALL = {
    "one": Bounds((1,), faults="crash slow blind refuse flushall"),
    "tried thrice": Bounds((1,), retries=3, faults="slow"),
    "cancel": Bounds((1,), faults="slow", persons="cancel edit"),
    "held": Bounds((1,), workers=1, faults="blind refuse", persons="cancel release discard"),
    "rejected": Bounds((1,), workers=1, retries=1, faults="blind reject", persons="cancel release replay"),
    "failed": Bounds((1,), workers=1, retries=1, faults="refuse", persons="replay"),
    "nowhere": Bounds((1,), faults="nowhere slow", persons="cancel"),
    "lane": Bounds((2,), retries=1, faults="crash"),
    "lane, held": Bounds((2,), workers=1, retries=1, faults="blind", persons="release"),
    "same text": Bounds((1, 1), workers=1, retries=1),
}
# Minutes: `make model`.
LARGE = {
    "one, longer times": Bounds(
        (1,), retries=3, faults="crash slow blind refuse flushall", times=(2, 1, 2, 1)
    ),
    "persons": Bounds((1,), faults="crash slow blind refuse", persons="cancel edit release discard"),
    "persons, rejected": Bounds(
        (1,), retries=1, faults="slow blind refuse reject", persons="cancel release replay"
    ),
    "nowhere, persons": Bounds((1,), faults="nowhere slow blind", persons="cancel release"),
    "lane of two": Bounds((2,), faults="crash slow refuse"),
    "lane of three": Bounds((3,), retries=1, faults="slow refuse"),
    "lane of two, held": Bounds((2,), retries=1, faults="blind", persons="release discard"),
    "lane of two, failed": Bounds((2,), workers=1, retries=1, faults="refuse", persons="replay"),
    "lane of two, cancelled": Bounds((2,), retries=1, faults="crash slow refuse", persons="cancel"),
    "same text, two workers": Bounds((1, 1), retries=1, faults="slow"),
}
WORLDS = SMALL | LARGE


class Guard(NamedTuple):
    """What it says, and the world in which its absence shows within seconds."""

    says: str
    world: str


GUARDS = {
    "head_subselect": Guard("T1: only the head of a lane is stepped", "lane"),
    "outer_recheck": Guard("T1: the update looks again at what its sub-select saw", "cancel"),
    "open_attempt_rule": Guard("T1: no step beside an open attempt that is not settled", "lane, held"),
    "self_fence": Guard("T2: bytes leave only within F of the step", "one"),
    "evidence_without_fence": Guard("T4, T9: proof counts in any state and without a fence", "one"),
    "fence_on_negatives": Guard("T5, T6, T10: all else needs the fence of its step", "tried thrice"),
    "doubt_without_fence": Guard(
        "T6: a doubt about an attempt is noted without a fence, and stays", "nowhere"
    ),
    "takeover": Guard("T7: what a dead worker held goes to verifying", "one"),
    "unique_provider_id": Guard("T9: an id is bound once", "same text"),
    "exactly_one": Guard("T9: evidence that fits two attempts is parked", "same text"),
    "settle": Guard("T10: absence counts after SETTLE only", "one"),
    "asked_after_settle": Guard("T10: it counts when the question was asked, not when it is decided", "one"),
    "canary": Guard("T10: absence counts beside a message that is surely there", "one"),
    "ambiguity": Guard("T10: evidence parked for any of the lanes it fits forbids absence", "same text"),
    "cancel_guard": Guard("T12: only what is queued is stopped at once", "cancel"),
    "stopped_in_one": Guard("T12: the answer is read in the transaction that cancels", "held"),
    "replay_guard": Guard("T16: only the failure that was shown is replayed", "failed"),
    "new_seq": Guard("T16: a replay goes to the end of its lane", "lane of two, failed"),
    "rejected_and_open": Guard("T17: rejected beside an open attempt is to be verified", "rejected"),
    "sweeper": Guard("T18: a head that is due is woken", "one"),
}
# What no rule closes: each lets the outside do what the times and the evidence rule out.
BEYOND = {
    "long_pause": Guard("a pause between check and write longer than G", "one"),
    "late_acceptance": Guard("an acceptance later than D", "one"),
    "false_no": Guard("a definite no for what was accepted", "one"),
    "stored_nowhere": Guard("accepted, never stored, answer and echo lost", "one"),
}
